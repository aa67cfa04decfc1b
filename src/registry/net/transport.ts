import { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { AirgapError } from '../../errors.ts'
import { secretsIn } from '../../text.ts'
import { LOST_SCHEME, REDIRECT_LOOP } from '../faults/quote.ts'
import { isListed, isLoopbackHost, printableUrl } from './hosts.ts'
import { transportError } from '../faults/transport.ts'
import { LinkLocalFault, NameGuard } from './name-guard.ts'
import { during, type Context } from '../notices.ts'
import { routeError } from './proxy-fault.ts'
import type { Proxy } from './proxies.ts'
import { Routes, type Route, type RouteOptions } from './routes.ts'
import { Hosts } from './throttle/hosts.ts'
import { SlowPeerFault } from './throttle/slowness.ts'
import { discard, locationOf, type HttpRequest, type HttpResponse } from './http.ts'
import type { Hints } from '../../hints.ts'

const MAX_REDIRECTS = 5
const CONNECT_TIMEOUT_MS = 10_000
/** How long a peer may send nothing. */
const STALL_TIMEOUT_MS = 60_000
const REDIRECTS = new Set([301, 302, 303, 307, 308])

export interface TransportOptions extends RouteOptions {
  stallTimeoutMs?: number | undefined
  connectTimeoutMs?: number | undefined
  /** What is known about the hosts; a new record by default. */
  hosts?: Hosts | undefined
  names?: NameGuard | undefined
}

/** Ten seconds to connect; the whole timeout where that is shorter, or a sixth of it where that is longer. */
function connectTimeout(timeoutMs: number): number {
  return Math.max(Math.min(timeoutMs, CONNECT_TIMEOUT_MS), timeoutMs / 6)
}

/** HTTP/1.1 over undici, with our own rules for redirects. Each hop takes the route of its own host. */
export class Transport {
  readonly stallTimeoutMs: number
  readonly names: NameGuard
  readonly #plainHttp: readonly string[]
  readonly #routes: Routes
  readonly #hosts: Hosts

  /** @throws AirgapError `FILE` when `caFile` cannot be used. */
  constructor(options: TransportOptions) {
    this.names = options.names ?? new NameGuard()
    this.#plainHttp = options.plainHttp ?? []
    this.#hosts = options.hosts ?? new Hosts()
    this.stallTimeoutMs = this.#hosts.stallTimeout(options.stallTimeoutMs ?? STALL_TIMEOUT_MS)
    const connectMs = options.connectTimeoutMs ?? connectTimeout(this.stallTimeoutMs)
    this.#routes = new Routes(options, { connectMs, stallMs: this.stallTimeoutMs }, this.names.lookup)
  }

  /** See {@link Routes.proxyFor}. */
  proxyFor(url: URL): Proxy | undefined {
    return this.#routes.proxyFor(url)
  }

  /**
   * Makes one request, and follows up to five redirects of GET and HEAD. Once a redirect leaves the origin,
   * Authorization is no longer sent. A redirect from HTTPS to plain HTTP is refused. Any other status is returned; the
   * caller must consume or discard the body.
   * @throws AirgapError `NETWORK`, `TLS`, `REGISTRY` (a bad redirect, a link-local address), `INTERRUPTED`; `USAGE` and
   *   `CREDENTIALS` for a proxy, `FILE` for the host's certificates
   */
  async request(request: HttpRequest): Promise<HttpResponse> {
    let { url, authorization } = request
    const secrets = [
      ...(request.secrets ?? []),
      ...(authorization === undefined ? [] : secretsIn(authorization)),
    ]
    for (let hops = 0; ; hops++) {
      const response = await this.#watched(request, url, authorization, secrets)
      const follows = request.method === 'GET' || request.method === 'HEAD'
      if (!REDIRECTS.has(response.status) || !follows) return response
      discard(response)
      const fail = (reason: string, hint?: Hints): never => {
        throw new AirgapError('REGISTRY', reason, { ...during(request.context), hint })
      }
      if (hops === MAX_REDIRECTS)
        fail(`more than ${MAX_REDIRECTS} redirects, the last from ${printableUrl(url)}`, REDIRECT_LOOP)
      const to = locationOf(response, request.context)
      if (this.isDowngrade(url, to)) {
        fail(`${printableUrl(url)} redirects from HTTPS to plain HTTP (${printableUrl(to)})`, LOST_SCHEME)
      }
      await request.checkRedirect?.(to)
      if (to.origin !== url.origin) authorization = undefined
      url = to
    }
  }

  /** Whether going from one URL to another would lose encryption without the user's permission. */
  isDowngrade(from: URL, to: URL): boolean {
    if (from.protocol !== 'https:' || to.protocol === 'https:') return false
    const local = isLoopbackHost(from.hostname) && isLoopbackHost(to.hostname)
    return !local && !isListed(this.#plainHttp, to)
  }

  /** Sends one hop's request, once its host is ready for it. */
  async #watched(
    request: HttpRequest,
    url: URL,
    authorization: string | undefined,
    secrets: string[],
  ): Promise<HttpResponse> {
    const { context, signal, method, isAside = false, leastRate } = request
    const withinMs = this.stallTimeoutMs
    const hasBody = method !== 'HEAD'
    const to = { host: url.host, context, counts: !isAside, hasBody, withinMs, leastRate, signal }
    const { response, chunks, withOrigin } = await this.#hosts.send(to, () =>
      this.#once(request, url, authorization, secrets),
    )
    const { statusCode, headers, body } = response
    return {
      method,
      status: statusCode,
      headers,
      body,
      chunks,
      withOrigin,
      url,
      requested: request.url,
      secrets,
    }
  }

  async #once(
    request: HttpRequest,
    url: URL,
    authorization: string | undefined,
    secrets: string[],
  ): Promise<Dispatcher.ResponseData> {
    const { method, body = null, signal, context } = request
    const route = await this.#routeFor(url, body, context)
    if (route.proxy?.authorization !== undefined) secrets.push(...secretsIn(route.proxy.authorization))
    try {
      const response = await route.dispatcher.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method,
        headers: {
          'user-agent': 'airgap',
          'accept-encoding': 'identity',
          ...request.headers,
          ...(authorization === undefined ? {} : { authorization }),
        },
        body: await this.#paced(body),
        ...(signal === undefined ? {} : { signal }),
        ...(request.answerTimeoutMs === undefined ? {} : { headersTimeout: request.answerTimeoutMs }),
        onInfo: tooManyInterims(),
        ...(keepsConnection(method, url, route) ? { reset: false } : {}),
      })
      // A body given up early emits an error. Its reader gets that error anyway.
      response.body.on('error', () => {})
      return response
    } catch (error) {
      const stallMs = request.answerTimeoutMs ?? this.stallTimeoutMs
      throw await routeError(error, route, url, context, signal, { stallMs, scheme: url.protocol })
    }
  }

  /** The route to a host. Where there is none, the body that was to be sent is destroyed. */
  async #routeFor(url: URL, body: HttpRequest['body'] | null, context: Context): Promise<Route> {
    const stream = body instanceof Readable ? body : undefined
    // Until undici listens, an error of the stream would be uncaught and end the process.
    stream?.on('error', () => {})
    try {
      this.names.checkHost(url.hostname)
      return await this.#routes.to(url)
    } catch (error) {
      stream?.destroy()
      throw error instanceof LinkLocalFault ? transportError(error, context, url.host) : error
    }
  }

  /** A request body, sent at the limited rate. */
  async #paced(body: HttpRequest['body'] | null): Promise<Readable | Uint8Array | string | null> {
    const { rate } = this.#hosts
    if (rate === undefined || body === null || body === undefined) return body ?? null
    if (body instanceof Readable) return Readable.from(rate.pace(body), { objectMode: false })
    await rate.take(body.length)
    return body
  }

  async close(): Promise<void> {
    await this.#routes.close()
  }
}

/** The most interim answers (RFC 9110 § 15.2) to accept: each starts the wait for the final one again. */
const MOST_INTERIMS = 8

function tooManyInterims(): () => void {
  let count = 0
  return () => {
    count++
    if (count > MOST_INTERIMS) throw new SlowPeerFault(0, 0)
  }
}

/**
 * undici closes the connection after a HEAD, because a server may send a body all the same, which would be taken for
 * the next answer. On a connection that no other host shares, that can only spoil answers of the same host, and those
 * are checked. A new connection for each of many HEADs would take longer than the HEADs do.
 */
function keepsConnection(method: string, { protocol }: URL, { proxy }: Route): boolean {
  return method === 'HEAD' && (proxy === undefined || protocol === 'https:')
}
