import { once } from 'node:events'
import { Agent, createServer, request as httpRequest, ServerResponse, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/**
 * What goes wrong with one request. `after` counts bytes of the body that is larger: of what is uploaded for a
 * request with a body, of what is downloaded otherwise.
 */
export type Fault =
  /** Answered by the proxy itself. */
  | { kind: 'status'; status: number; headers?: Record<string, string> }
  /** The connection is closed as if the peer had said everything. */
  | { kind: 'cut'; after: number }
  /** The connection is reset. */
  | { kind: 'reset'; after: number }
  /** Nothing more comes, and the connection stays open. */
  | { kind: 'stall'; after: number }
  /** Bytes come at so many a second. */
  | { kind: 'throttle'; rate: number }

/** A request that the proxy has seen, and the bytes of bodies that it has passed on so far. */
export interface Passed {
  method: string
  /** Without the query. */
  path: string
  up: number
  down: number
  /** Undefined until there is an answer. */
  status?: number
}

/** An HTTP proxy in front of a registry, which does to requests what it is told. */
export interface FaultProxy extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  host: string
  /** Where requests go: `127.0.0.1:PORT`. May change while it runs. */
  upstream: string
  /** Asked for every request; `n` counts from 1. */
  faultOf: (n: number, request: { method: string; path: string }) => Fault | undefined
  /** Requests since the last {@link forget}. */
  passed: Passed[]
  forget: () => void
  /** Resolves when so many bytes of bodies have been passed on since the last {@link forget}. */
  reached: (bytes: number) => Promise<void>
}

export async function startFaultProxy(upstream: string): Promise<FaultProxy> {
  const agent = new Agent({ keepAlive: true })
  const sockets = new Set<Socket>()
  let waiting: { bytes: number; resolve: () => void }[] = []
  let total = 0
  let count = 0

  const add = (bytes: number): void => {
    total += bytes
    for (const each of waiting.filter((one) => one.bytes <= total)) each.resolve()
    waiting = waiting.filter((one) => one.bytes > total)
  }

  const server = createServer((request, response) => {
    // A request that is over has no socket any more.
    const { socket } = request
    void handle(request, response, socket).catch(() => socket.destroy())
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
  })

  async function handle(request: IncomingMessage, response: ServerResponse, client: Socket): Promise<void> {
    count += 1
    const method = request.method ?? ''
    const path = (request.url ?? '').replace(/\?.*$/s, '')
    const entry: Passed = { method, path, up: 0, down: 0 }
    proxy.passed.push(entry)
    const fault = proxy.faultOf(count, { method, path })
    if (fault?.kind === 'status') {
      request.resume()
      response.writeHead(fault.status, { 'content-length': '0', ...fault.headers }).end()
      return
    }
    const hasBody =
      Number(request.headers['content-length'] ?? 0) > 0 || 'transfer-encoding' in request.headers
    const [host = '', port = ''] = proxy.upstream.split(':')
    const forwarded = httpRequest({
      host,
      port,
      method,
      path: request.url,
      headers: request.headers,
      agent,
      setHost: false,
    })
    response.once('close', () => forwarded.destroy())
    const answered = once(forwarded, 'response') as Promise<[IncomingMessage]>
    answered.catch(() => {})
    const upFault = hasBody ? fault : undefined
    const sent = pass(request, forwarded, upFault, client, (bytes) => {
      entry.up += bytes
      add(bytes)
    })
    sent.catch(() => {})
    const [answer] = await answered
    entry.status = answer.statusCode ?? 0
    response.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
    await pass(answer, response, hasBody ? undefined : fault, client, (bytes) => {
      entry.down += bytes
      add(bytes)
    })
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const proxy: FaultProxy = {
    host: `127.0.0.1:${address.port}`,
    upstream,
    faultOf: () => undefined,
    passed: [],
    forget() {
      proxy.passed = []
      waiting = []
      total = 0
      count = 0
    },
    reached: (bytes) =>
      new Promise((resolve) => {
        if (total >= bytes) resolve()
        else waiting.push({ bytes, resolve })
      }),
    async [Symbol.asyncDispose]() {
      agent.destroy()
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
  return proxy
}

/** Passes a body on, until what is to go wrong goes wrong. */
async function pass(
  from: IncomingMessage,
  to: NodeJS.WritableStream,
  fault: Fault | undefined,
  client: Socket,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const limit = fault && 'after' in fault ? Math.floor(fault.after) : Number.POSITIVE_INFINITY
  let done = 0
  for await (const chunk of from as AsyncIterable<Buffer>) {
    const part = chunk.subarray(0, Math.max(0, limit - done))
    done += part.length
    onBytes(part.length)
    if (part.length > 0 && !to.write(part)) await drained(to, client)
    if (done >= limit) {
      if (fault?.kind === 'reset') client.resetAndDestroy()
      // What was written to the client has to leave before the connection ends.
      if (fault?.kind === 'cut' && to instanceof ServerResponse) client.destroySoon()
      else if (fault?.kind === 'cut') client.destroy()
      if (fault?.kind === 'stall' && !client.destroyed) await once(client, 'close')
      return
    }
    if (fault?.kind === 'throttle') await delay((part.length / fault.rate) * 1000)
  }
  to.end()
}

async function drained(to: NodeJS.WritableStream, client: Socket): Promise<void> {
  const gone = new AbortController()
  const leave = (): void => gone.abort()
  client.once('close', leave)
  try {
    if (!client.destroyed) await once(to, 'drain', { signal: gone.signal })
  } finally {
    client.off('close', leave)
  }
}
