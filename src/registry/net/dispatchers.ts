import { isIP, type LookupFunction } from 'node:net'
import type { SecureContext } from 'node:tls'
import { Agent, Pool, ProxyAgent, type buildConnector, type Dispatcher } from 'undici'
import { systemCode } from '../../errors.ts'
import { bareHost } from './hosts.ts'
import { checkServerName } from './tls.ts'
import type { Proxy } from './proxies.ts'
import { ProxyFault } from './proxy-fault.ts'
import type { Trust } from './trust.ts'

export interface Timeouts {
  connectMs: number
  /** How long a peer may be silent. */
  stallMs: number
}

/**
 * Connections to hosts themselves.
 * @param lookup finds the addresses of their names.
 */
export function directly(trust: Trust, timeouts: Timeouts, lookup: LookupFunction): Dispatcher {
  return new Agent({ ...common(timeouts), connect: { timeout: timeouts.connectMs, lookup, ...tlsOf(trust) } })
}

/**
 * Connections through a proxy: a tunnel to each host in HTTPS (CONNECT, RFC 9110 § 9.3.6), and forwarded requests for
 * plain HTTP (absolute form, RFC 9112 § 3.2.2). What goes wrong at the proxy is a {@link ProxyFault}.
 */
export function through(proxy: Proxy, proxyTrust: Trust, trust: Trust, timeouts: Timeouts): Dispatcher {
  const origin = proxy.url.origin
  return new ProxyAgent({
    ...common(timeouts),
    uri: proxy.url.href,
    ...(proxy.authorization === undefined ? {} : { token: proxy.authorization }),
    headers: { 'user-agent': 'airgap' },
    connectTimeout: timeouts.connectMs,
    proxyTls: { allowH2: false, ...tlsOf(proxyTrust) },
    requestTls: { allowH2: false, ...tlsOf(trust) },
    clientFactory: (to, options) => new TunnelPool(proxy, to, withTimeouts(options, timeouts)),
    factory: (to, options) => {
      const pooled = withTimeouts(options, timeouts)
      const isProxy = new URL(to).origin === origin && typeof pooled.connect === 'function'
      if (!isProxy) return new Pool(to, pooled)
      return new Pool(to, { ...pooled, connect: proxyConnector(pooled.connect as Connector, proxy) })
    },
  })
}

type Connector = buildConnector.connector

/** To the proxy, for tunnels. */
class TunnelPool extends Pool {
  readonly #proxy: Proxy

  constructor(proxy: Proxy, origin: URL, options: Pool.Options) {
    super(origin, { ...options, connect: proxyConnector(options.connect as Connector, proxy) })
    this.#proxy = proxy
  }

  // The overload with a callback is not called.
  override async connect(options: Dispatcher.ConnectOptions): Promise<Dispatcher.ConnectData> {
    const answer = await super.connect(options).catch((error: Error) => {
      throw asFault(error, this.#proxy)
    })
    const { statusCode: status, headers, socket } = answer
    if (status === 200) return answer
    socket.on('error', () => {}).destroy()
    throw new ProxyFault(this.#proxy, { status, challenge: headers['proxy-authenticate']?.toString() })
  }
}

/** Connects to a proxy; what fails is the proxy's. */
function proxyConnector(connect: Connector, proxy: Proxy): Connector {
  return (options, callback) => {
    const { servername, ...others } = options
    // undici would send an address as the server's name, which TLS does not allow (RFC 6066 § 3).
    const isName = servername !== undefined && isIP(bareHost(servername)) === 0
    connect(isName ? options : others, (...[error, socket]) => {
      if (error) callback(asFault(error, proxy), null)
      else callback(null, socket)
    })
  }
}

function asFault(error: Error, proxy: Proxy): Error {
  const code = systemCode(error)
  const isOurs = error instanceof ProxyFault || code === 'UND_ERR_DESTROYED' || code === 'UND_ERR_CLOSED'
  if (isOurs) return error
  // undici wraps what it would take for a fault of the target.
  return new ProxyFault(
    proxy,
    error.name.endsWith('ProxyConnectionError') && error.cause instanceof Error ? error.cause : error,
  )
}

function common({ stallMs }: Timeouts): Agent.Options {
  return { allowH2: false, headersTimeout: stallMs, bodyTimeout: stallMs }
}

function withTimeouts(options: object, timeouts: Timeouts): Pool.Options {
  return { ...options, ...common(timeouts) }
}

function tlsOf({ secureContext, isVerified }: Trust): {
  checkServerIdentity: typeof checkServerName
  secureContext?: SecureContext
  rejectUnauthorized?: false
} {
  return {
    checkServerIdentity: checkServerName,
    ...(secureContext === undefined ? {} : { secureContext }),
    ...(isVerified ? {} : { rejectUnauthorized: false }),
  }
}
