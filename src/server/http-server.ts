import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { AirgapError, messageOf, systemCode } from '../errors.ts'

/** What one client may cost. Times are milliseconds. */
export interface ConnectionLimits {
  /** For the head of a request, from its first byte or the connection's beginning on. */
  headers: number
  /** For a whole request. */
  request: number
  /** Without a byte going either way, while a request is being answered. */
  stalled: number
  /** Between two requests. */
  keepAlive: number
  /** Open at a time; further ones are closed at once. */
  connections: number
}

interface HttpServerOptions {
  /** PEM. */
  tls?: { key: string | Buffer; cert: string | Buffer }
  limits?: ConnectionLimits
  onHandshakeFault?: (remote: string | undefined, message: string) => void
}

/** @throws AirgapError `TLS` where key or certificate cannot be used, or do not belong together. */
export function createHttpServer(
  { tls, limits, onHandshakeFault }: HttpServerOptions,
  listener: (message: IncomingMessage, response: ServerResponse) => void,
): Server {
  const settings = limits
    ? {
        headersTimeout: limits.headers,
        requestTimeout: limits.request,
        keepAliveTimeout: limits.keepAlive,
        connectionsCheckingInterval: Math.min(limits.headers, 5000),
      }
    : // Longer than a client keeps a connection by itself: none is closed just as it is used again.
      { keepAliveTimeout: 60_000 }
  let server: Server
  if (tls) {
    try {
      server = createTlsServer({ ...settings, key: tls.key, cert: tls.cert, minVersion: 'TLSv1.2' }, listener)
    } catch (error) {
      throw new AirgapError('TLS', `the TLS key and certificate cannot be used: ${messageOf(error)}`, {
        hint: 'Give a PEM private key and the PEM certificate that belongs to it.',
        cause: error,
      })
    }
    server.on('tlsClientError', (error: Error, socket: Socket) =>
      onHandshakeFault?.(socket.remoteAddress, error.message),
    )
  } else {
    server = createServer(settings, listener)
  }
  if (limits) {
    server.setTimeout(limits.stalled)
    server.maxConnections = limits.connections
  }
  return server
}

/**
 * @returns `HOST:PORT` as it stands in URLs, with the real port where 0 was asked for.
 * @throws AirgapError `NETWORK`
 */
export async function listen(
  server: Server,
  { host = '127.0.0.1', port = 0 }: { host?: string; port?: number } = {},
): Promise<string> {
  const where = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, host, () => {
        server.off('error', reject)
        resolve()
      })
    })
  } catch (error) {
    const [reason, hint] = REASONS[systemCode(error) ?? ''] ?? [messageOf(error)]
    throw new AirgapError('NETWORK', `cannot listen on ${where}: ${reason}`, { hint, cause: error })
  }
  const address = server.address() as AddressInfo
  return address.family === 'IPv6'
    ? `[${address.address}]:${address.port}`
    : `${address.address}:${address.port}`
}

const REASONS: Record<string, [reason: string, hint: string]> = {
  EADDRINUSE: [
    'the port is taken',
    'Another program listens there; `ss -ltnp` shows which. Stop it, or choose another port.',
  ],
  EACCES: [
    'permission denied',
    'Ports below 1024 are for root. Choose a higher one, or give this program the right: under systemd, AmbientCapabilities=CAP_NET_BIND_SERVICE.',
  ],
  EADDRNOTAVAIL: [
    'this machine does not have that address',
    '`ip address` shows those that it has; 0.0.0.0 stands for all of them.',
  ],
  ENOTFOUND: ['there is no such host', 'Name an address of this machine.'],
  EAI_AGAIN: ['the name cannot be looked up', 'Name an address of this machine.'],
  EAFNOSUPPORT: ['this machine does not speak IPv6', 'Name an IPv4 address.'],
}
