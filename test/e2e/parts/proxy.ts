import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** A TCP proxy in front of a registry that can stop in the middle of a download. */
export interface Proxy extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  host: string
  /** From so many bytes of answers on, nothing more comes through. Resolves when that is reached. */
  hold: (after: number) => Promise<void>
  /** Lets everything through again. */
  release: () => void
}

export async function startProxy(to: string): Promise<Proxy> {
  const [hostname = '', port = ''] = to.split(':')
  const sockets = new Set<Socket>()
  const upstreams = new Set<Socket>()
  let passed = 0
  let limit = Number.POSITIVE_INFINITY
  let reached = (): void => {}

  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname)
    upstreams.add(upstream)
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        sockets.delete(socket)
        upstreams.delete(socket)
        other.destroy()
      })
    }
    client.pipe(upstream)
    upstream.on('data', (chunk) => {
      passed += chunk.length
      client.write(chunk)
      if (passed < limit) return
      for (const socket of upstreams) socket.pause()
      reached()
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')

  return {
    host: `127.0.0.1:${address.port}`,
    hold(after) {
      limit = passed + after
      return new Promise((resolve) => {
        reached = resolve
      })
    },
    release() {
      limit = Number.POSITIVE_INFINITY
      for (const socket of upstreams) socket.resume()
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
