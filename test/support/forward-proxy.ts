import { once } from 'node:events'
import { createServer, request as forward, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { connect, type AddressInfo, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { onTestFinished } from 'vitest'

export interface ForwardProxy {
  port: number
  /** What it was asked for: `CONNECT host:port`, `GET http://…`. */
  lines: string[]
  /** The headers of these requests. */
  headers: IncomingMessage['headers'][]
}

export interface ForwardProxyOptions {
  tls?: { cert: string; key: string }
  /** `user:password` that it wants. */
  credentials?: string
  /** The Proxy-Authenticate of its 407. */
  challenge?: string
  /** The ports on 127.0.0.1 that it takes names for, as only it knows them: `host:port` to a port. */
  hosts?: Record<string, number>
  /** What it answers to every request instead; 0 is silence. */
  status?: number
}

/** A forward proxy on 127.0.0.1 that ends with the test. */
export async function startForwardProxy(options: ForwardProxyOptions = {}): Promise<ForwardProxy> {
  const { hosts = {}, credentials, challenge = 'Basic realm="proxy"' } = options
  const lines: string[] = []
  const headers: IncomingMessage['headers'][] = []
  const sockets = new Set<Duplex>()
  const wanted = credentials && `Basic ${Buffer.from(credentials).toString('base64')}`

  const refusal = (request: IncomingMessage): number | undefined => {
    lines.push(`${request.method} ${request.url}`)
    headers.push(request.headers)
    if (options.status !== undefined) return options.status
    return wanted !== undefined && request.headers['proxy-authorization'] !== wanted ? 407 : undefined
  }
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    const status = refusal(request)
    if (status === 0) return
    const target = URL.canParse(request.url ?? '') ? new URL(request.url ?? '') : undefined
    const port = target && (hosts[target.host] ?? (target.hostname === '127.0.0.1' ? Number(target.port) : 0))
    if (status !== undefined || !target || !port) {
      response.writeHead(status ?? 502, { 'proxy-authenticate': challenge }).end('<html>no</html>')
      return
    }
    const { 'proxy-authorization': _, ...others } = request.headers
    const onward = forward(
      {
        host: '127.0.0.1',
        port,
        path: target.pathname + target.search,
        method: request.method,
        headers: others,
      },
      (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers)
        answer.pipe(response)
      },
    )
    onward.on('error', () => response.destroy())
    request.pipe(onward)
  }
  const onConnect = (request: IncomingMessage, socket: Duplex): void => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    const status = refusal(request)
    if (status === 0) return
    const [host = '', port = ''] = (request.url ?? '').split(/:(?=\d+$)/)
    const to = hosts[`${host}:${port}`] ?? hosts[host] ?? (host === '127.0.0.1' ? Number(port) : 0)
    if (status !== undefined || !to) {
      socket.end(
        `HTTP/1.1 ${status ?? 503} No\r\nProxy-Authenticate: ${challenge}\r\nContent-Length: 2\r\n\r\nno`,
      )
      return
    }
    const onward: Socket = connect(to, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      onward.pipe(socket).pipe(onward)
    })
    sockets.add(onward)
    onward.on('error', () => socket.destroy())
    socket.on('close', () => onward.destroy())
  }
  const server = options.tls ? createTlsServer(options.tls, onRequest) : createServer(onRequest)
  server.on('connect', onConnect)
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.closeAllConnections()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, lines, headers }
}
