import { lookup as systemLookup } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import { Agent, type buildConnector, type Dispatcher, Pool, ProxyAgent } from 'undici'
import { bareHost, isListed, isLoopbackHost } from './hosts.ts'
import type { OnNotice } from '../notices.ts'
import { certsRoots } from './certs-folders.ts'
import { type HostTlsTable, type HostTrust, Trusts } from './trust.ts'
import { Proxies, ProxyFault, type Proxy, type ProxySettings } from './proxies.ts'
import type { SecureContext } from 'node:tls'
import { systemCode } from '../../errors.ts'
import { checkServerName } from './tls.ts'

interface Timeouts {
  connectMs: number
  /** How long a peer may send nothing. */
  stallMs: number
}

/**
 * Direct connections to hosts.
 * @param lookup finds the addresses of host names.
 */
function directly(trust: HostTrust, timeouts: Timeouts, lookup: LookupFunction): Dispatcher {
  return new Agent({ ...common(timeouts), connect: { timeout: timeouts.connectMs, lookup, ...tlsOf(trust) } })
}

/**
 * Connections through a proxy: a tunnel to each host for HTTPS (CONNECT, RFC 9110 § 9.3.6), and forwarded requests for
 * plain HTTP (absolute form, RFC 9112 § 3.2.2). Failures at the proxy are {@link ProxyFault}s.
 */
function through(proxy: Proxy, proxyTrust: HostTrust, trust: HostTrust, timeouts: Timeouts): Dispatcher {
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

/** Connections to the proxy, for tunnels. */
class TunnelPool extends Pool {
  readonly #proxy: Proxy

  constructor(proxy: Proxy, origin: URL, options: Pool.Options) {
    super(origin, { ...options, connect: proxyConnector(options.connect as Connector, proxy) })
    this.#proxy = proxy
  }

  // Nothing calls the overload with a callback.
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

/** Connects to a proxy. Errors are {@link ProxyFault}s. */
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
  // undici wraps errors that it takes for the target's.
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

function tlsOf({ secureContext, isVerified }: HostTrust): {
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

/** How hosts are reached. All options may be left out. */
export interface RouteOptions {
  /** PEM file of certificates to trust besides the default roots. */
  caFile?: string | undefined
  /** `HOST` or `HOST:PORT` whose certificate is not checked. */
  insecureSkipTlsVerify?: readonly string[] | undefined
  /** `HOST` or `HOST:PORT` that may be reached over plain HTTP. */
  plainHttp?: readonly string[] | undefined
  /** TLS settings for single hosts; for a host listed here, certs.d folders are not read. */
  hostTls?: HostTlsTable | undefined
  /** Folders with one folder of certificates for each host; by default those of Docker and Podman. */
  certsFolders?: readonly string[] | undefined
  /** Used in place of `HTTP_PROXY` and the other variables of the environment. */
  proxies?: ProxySettings | undefined
  /** Empty by default. */
  env?: NodeJS.ProcessEnv | undefined
  onNotice?: OnNotice | undefined
}

/** How one origin is reached. */
export interface Route {
  dispatcher: Dispatcher
  trust: HostTrust
  /** Finds the addresses of hosts that are contacted directly. */
  lookup: LookupFunction
  proxy: Proxy | undefined
  /** Why there is no proxy, see {@link Proxies.whyDirect}. */
  whyDirect: string | undefined
}

/** Finds the route to each origin, and remembers it. One connection pool for each trust and proxy. */
export class Routes {
  readonly #options: RouteOptions
  readonly #timeouts: Timeouts
  readonly #lookup: LookupFunction
  readonly #proxies: Proxies
  readonly #trusts: Trusts
  readonly #routes = new Map<string, Promise<Route>>()
  readonly #dispatchers = new Map<string, Dispatcher>()
  #isClosed = false

  /**
   * @param lookup for hosts that are contacted directly.
   * @throws AirgapError `FILE` when `caFile` cannot be used.
   */
  constructor(options: RouteOptions, timeouts: Timeouts, lookup: LookupFunction = systemLookup) {
    const { caFile, insecureSkipTlsVerify = [], hostTls, certsFolders, proxies, env = {}, onNotice } = options
    this.#options = options
    this.#timeouts = timeouts
    this.#lookup = lookup
    this.#proxies = proxies ? Proxies.given(proxies) : Proxies.fromEnvironment(env)
    this.#trusts = new Trusts({
      caFile,
      insecureSkipTlsVerify,
      hostTls,
      env,
      certsRoots: certsFolders ?? certsRoots(env),
      onWarning: (message) => onNotice?.({ type: 'warning', message }),
    })
  }

  /**
   * The proxy for a target; undefined for a direct connection.
   * @throws AirgapError `USAGE` when the setting does not name a proxy.
   */
  proxyFor(url: URL): Proxy | undefined {
    return this.#proxies.for(url)
  }

  /**
   * The route to a URL's origin.
   * @throws AirgapError `USAGE` for the proxy's setting, `FILE` for certificates that concern this host or its proxy.
   */
  to(url: URL): Promise<Route> {
    const known = this.#routes.get(url.origin)
    if (known) return known
    const found = this.#find(url)
    this.#routes.set(url.origin, found)
    // A file may be fixed before the next attempt.
    found.catch(() => this.#routes.delete(url.origin))
    return found
  }

  async #find(url: URL): Promise<Route> {
    const proxy = this.proxyFor(url)
    const proxyTrust = proxy && (await this.#trustIn(proxy.url))
    const trust = await this.#trustIn(url)
    const key = JSON.stringify([trust.key, proxy?.url.origin, proxy?.authorization, proxyTrust?.key])
    let dispatcher = this.#dispatchers.get(key)
    if (!dispatcher) {
      dispatcher =
        proxy && proxyTrust
          ? through(proxy, proxyTrust, trust, this.#timeouts)
          : directly(trust, this.#timeouts, this.#lookup)
      this.#dispatchers.set(key, dispatcher)
      if (this.#isClosed) await dispatcher.destroy()
    }
    this.#tell(url, trust, proxy)
    if (proxy && proxyTrust && !proxyTrust.isVerified) this.#tellInsecure(proxy.url, 'unverified')
    return { dispatcher, trust, lookup: this.#lookup, proxy, whyDirect: this.#proxies.whyDirect(url) }
  }

  /** Reads no files where there is no TLS. */
  async #trustIn(url: URL): Promise<HostTrust> {
    return url.protocol === 'https:' ? this.#trusts.for(url) : NO_TLS
  }

  #tell(url: URL, trust: HostTrust, proxy: Proxy | undefined): void {
    const { plainHttp = [], onNotice } = this.#options
    if (!trust.isVerified) this.#tellInsecure(url, 'unverified')
    if (url.protocol === 'http:' && isListed(plainHttp, url) && !isLoopbackHost(url.hostname)) {
      this.#tellInsecure(url, 'plain-http')
    }
    onNotice?.({
      type: 'way',
      host: url.host,
      caFiles: trust.caFiles,
      ...(proxy === undefined ? {} : { proxy: proxy.name, proxyFrom: proxy.from }),
      ...(trust.clientCertificate === undefined ? {} : { clientCertificate: trust.clientCertificate }),
    })
  }

  #tellInsecure(url: URL, how: 'unverified' | 'plain-http'): void {
    this.#options.onNotice?.({ type: 'insecure', registry: url.host, how })
  }

  /** Closes all connections; current and later requests fail. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#dispatchers.values()].map((dispatcher) => dispatcher.destroy()))
  }
}

const NO_TLS: HostTrust = {
  key: 'no TLS',
  secureContext: undefined,
  isVerified: true,
  caFiles: [],
  clientCertificate: undefined,
}
