import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { AirgapError, messageOf, systemCode } from '../../errors.ts'

/** Limits for clients. Times are milliseconds. */
export interface ConnectionLimits {
  /** Time for the head of a request, from its first byte or from the start of the connection. */
  headers: number
  /** Time for a whole request. */
  request: number
  /** Time without any traffic while a request is being answered. */
  stalled: number
  /** Time between two requests. */
  keepAlive: number
  /** Open connections. When it is exceeded, the connection that has been idle longest is closed. */
  connections: number
  /** The same for one client: an IPv4 address or an IPv6 /64 network. */
  perClient: number
}

/** Node's ciphers for TLS 1.3, and those with forward secrecy for TLS 1.2: a stolen key cannot decrypt old traffic. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  ...['AES128-GCM-SHA256', 'AES256-GCM-SHA384', 'CHACHA20-POLY1305'].flatMap((cipher) => [
    `ECDHE-ECDSA-${cipher}`,
    `ECDHE-RSA-${cipher}`,
  ]),
].join(':')

interface HttpServerOptions {
  /** PEM. */
  tls?: { key: string | Buffer; cert: string | Buffer } | undefined
  limits?: ConnectionLimits
  onHandshakeFault?: ((remote: string | undefined, message: string) => void) | undefined
}

/** @throws AirgapError `TLS` if key or certificate cannot be used, or do not belong together. */
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
    : // Longer than clients keep connections, so that none is closed just when a client reuses it.
      { keepAliveTimeout: 60_000 }
  let server: Server
  if (tls) {
    try {
      server = createTlsServer(
        {
          ...settings,
          ...(limits ? { handshakeTimeout: limits.headers } : {}),
          key: tls.key,
          cert: tls.cert,
          minVersion: 'TLSv1.2',
          ciphers: CIPHERS,
        },
        listener,
      )
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
    new Door(limits).watch(server)
  }
  return server
}

interface Visit {
  client: string
  socket: Socket
  requests: number
}

/**
 * Limits open connections. When a limit is reached, a new connection replaces the one that has been idle longest; at the
 * limit of a client, one of its own. So a client that opens many connections and sends nothing only closes its own. A new
 * connection is refused only if all others are busy.
 */
class Door {
  readonly #limits: ConnectionLimits
  /** By the addresses of the connection, because a request over TLS has another socket object. */
  readonly #visits = new Map<string, Visit>()
  readonly #counts = new Map<string, number>()
  /** Idle connections, the longest idle first. */
  readonly #waiting = new Set<Visit>()

  constructor(limits: ConnectionLimits) {
    this.#limits = limits
  }

  watch(server: Server): void {
    server.on('connection', (socket: Socket) => this.#enter(socket))
    server.prependListener('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
      const visit = this.#visits.get(endsOf(socket))
      if (!visit) return
      visit.requests++
      this.#waiting.delete(visit)
      response.once('close', () => {
        visit.requests--
        if (visit.requests === 0 && !visit.socket.destroyed) this.#waiting.add(visit)
      })
    })
  }

  #enter(socket: Socket): void {
    if (socket.remoteAddress === undefined) return void socket.destroy()
    const client = clientOf(socket.remoteAddress)
    const isTooMany = (this.#counts.get(client) ?? 0) >= this.#limits.perClient
    if (isTooMany || this.#visits.size >= this.#limits.connections) {
      const other = [...this.#waiting].find((visit) => !isTooMany || visit.client === client)
      if (!other) return void socket.destroy()
      this.#leave(other)
      other.socket.destroy()
    }
    const visit: Visit = { client, socket, requests: 0 }
    this.#visits.set(endsOf(socket), visit)
    this.#counts.set(client, (this.#counts.get(client) ?? 0) + 1)
    this.#waiting.add(visit)
    const ends = endsOf(socket)
    socket.once('close', () => this.#leave(visit, ends))
  }

  #leave(visit: Visit, ends = endsOf(visit.socket)): void {
    this.#waiting.delete(visit)
    if (this.#visits.get(ends) !== visit) return
    this.#visits.delete(ends)
    const left = (this.#counts.get(visit.client) ?? 1) - 1
    if (left === 0) this.#counts.delete(visit.client)
    else this.#counts.set(visit.client, left)
  }
}

function endsOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`
}

/** The client of an address: an IPv4 address, or the /64 network of an IPv6 address, all of which one host can use. */
function clientOf(address: string): string {
  const mapped = /^::ffff:([0-9.]+)$/.exec(address)?.[1]
  if (mapped !== undefined || !address.includes(':')) return mapped ?? address
  const [head = '', tail] = address.replace(/%.*$/, '').split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = Array<string>(8 - before.length - after.length).fill('0')
  return [...before, ...zeros, ...after].slice(0, 4).join(':')
}

/**
 * @returns `HOST:PORT` as in URLs, with the real port if port 0 was given.
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
    'the port is in use',
    'Another program listens there; `ss -ltnp` shows which one. Stop it, or choose another port.',
  ],
  EACCES: [
    'permission denied',
    'Ports below 1024 are for root. Choose a higher one, or give this program the capability: under systemd, AmbientCapabilities=CAP_NET_BIND_SERVICE.',
  ],
  EADDRNOTAVAIL: [
    'this machine does not have that address',
    '`ip address` shows those that it has; 0.0.0.0 means all of them.',
  ],
  ENOTFOUND: ['there is no such host', 'Name an address of this machine.'],
  EAI_AGAIN: ['the name cannot be resolved', 'Name an address of this machine.'],
  EAFNOSUPPORT: ['this machine does not support IPv6', 'Name an IPv4 address.'],
}
