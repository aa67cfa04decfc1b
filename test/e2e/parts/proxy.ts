import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** A TCP proxy in front of a registry that can stop, or cut connections, in the middle of a transfer. */
export interface Proxy extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  host: string
  /** From so many bytes of answers on, nothing more comes through. Resolves when that is reached. */
  hold: (after: number) => Promise<void>
  /** Lets everything through again. */
  release: () => void
  /** Bytes of requests that have come through. */
  sent: () => number
  /** Cuts the connection that carries so many more bytes of requests. Resolves when that is done. */
  cut: (after: number) => Promise<void>
  /** Stops everything before the first piece of a request that holds this text. Resolves when it has come. */
  holdBefore: (text: string) => Promise<void>
  /** Where new connections go to from now on. */
  lead: (to: string) => void
}

export async function startProxy(to: string): Promise<Proxy> {
  let target = to
  const sockets = new Set<Socket>()
  const upstreams = new Set<Socket>()
  let passed = 0
  let limit = Number.POSITIVE_INFINITY
  let reached = (): void => {}
  let sent = 0
  let cut: { at: number; done: () => void } | undefined
  let wall: { text: string; done: () => void } | undefined

  const server = createServer((client) => {
    const [hostname = '', port = ''] = target.split(':')
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
    client.on('data', (chunk: Buffer) => {
      if (wall && chunk.includes(wall.text)) {
        client.pause()
        wall.done()
        return
      }
      sent += chunk.length
      if (cut && sent >= cut.at) {
        const { done } = cut
        cut = undefined
        // What came before arrives, as it does where a cable is pulled.
        upstream.end(chunk.subarray(0, Math.floor(chunk.length / 2)), () => client.destroy())
        done()
        return
      }
      if (!upstream.write(chunk)) client.pause()
    })
    upstream.on('drain', () => client.resume())
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
      wall = undefined
      for (const socket of upstreams) socket.resume()
    },
    sent: () => sent,
    cut(after) {
      return new Promise((resolve) => {
        cut = { at: sent + after, done: resolve }
      })
    },
    holdBefore(text) {
      return new Promise((resolve) => {
        wall = { text, done: resolve }
      })
    },
    lead(host) {
      target = host
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
