import type { IncomingHttpHeaders } from 'node:http'
import { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { AirgapError } from '../errors.ts'
import { secretsIn, withoutSecrets } from '../redact.ts'
import { noteAnswer } from './answers.ts'
import { LOST_SCHEME, NO_REGISTRY, REDIRECT_LOOP } from './faults/words.ts'
import { isLinkLocalHost, isListed, isLoopbackHost, printableUrl } from './hosts.ts'
import { NameGuard } from './name-guard.ts'
import { MAX_ERROR_BODY, statusError, transportError, type AuthState } from './http-errors.ts'
import type { Context } from './notices.ts'
import { wayError } from './way/faults.ts'
import type { Proxy } from './way/proxies.ts'
import { Ways, type Way, type WayOptions } from './way/ways.ts'
import { Hosts } from './pressure/hosts.ts'

const MAX_REDIRECTS = 5
const CONNECT_TIMEOUT_MS = 10_000
/** How long a peer may be silent. */
const STALL_TIMEOUT_MS = 60_000
const REDIRECTS = new Set([301, 302, 303, 307, 308])

export interface HttpRequest {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  url: URL
  context: Context
  headers?: Record<string, string>
  /** Sent to the origin of `url` only, never along a redirect that leaves it. */
  authorization?: string | undefined
  body?: Readable | Uint8Array | string | undefined
  /** How long the answer may take after the request is sent, where that is longer than the stall timeout. */
  answerTimeoutMs?: number | undefined
  /** Another request waits for this one, so that it must not wait for others. */
  isAside?: boolean | undefined
  signal?: AbortSignal | undefined
  /** What is secret in the body: no error quotes it. What `authorization` holds is known to be. */
  secrets?: readonly string[] | undefined
  /** Called before a redirect is followed; throws to refuse it. */
  checkRedirect?: ((to: URL) => Promise<void>) | undefined
}

export interface HttpResponse {
  method: HttpRequest['method']
  status: number
  headers: IncomingHttpHeaders
  body: Dispatcher.ResponseData['body']
  /** The body's bytes, as fast as they may come. */
  chunks: AsyncIterable<Uint8Array>
  /** Notes of an error made of this answer which host it is from. Returns the error. */
  blame: <E extends Error>(error: E) => E
  /** Where the answer came from, after redirects. */
  url: URL
  requested: URL
  /** What was sent with the request that an error must not quote, where the answer repeats it. */
  secrets: readonly string[]
}

export interface TransportOptions extends WayOptions {
  stallTimeoutMs?: number | undefined
  connectTimeoutMs?: number | undefined
  /** What is known of the hosts that are sent to; on its own where left out. */
  hosts?: Hosts | undefined
  names?: NameGuard | undefined
}

/** Connecting takes less time than answering: at most a sixth of a long timeout, and no more than a short one. */
function connectTimeout(timeoutMs: number): number {
  return Math.max(Math.min(timeoutMs, CONNECT_TIMEOUT_MS), timeoutMs / 6)
}

/** HTTP/1.1 over undici, with redirects followed by rules of our own. Each hop goes the way of its own host. */
export class Transport {
  readonly stallTimeoutMs: number
  readonly names: NameGuard
  readonly #plainHttp: readonly string[]
  readonly #ways: Ways
  readonly #hosts: Hosts

  /** @throws AirgapError `FILE` when `caFile` is of no use. */
  constructor(options: TransportOptions) {
    this.names = options.names ?? new NameGuard()
    this.#plainHttp = options.plainHttp ?? []
    this.#hosts = options.hosts ?? new Hosts()
    this.stallTimeoutMs = this.#hosts.stallTimeout(options.stallTimeoutMs ?? STALL_TIMEOUT_MS)
    const connectMs = options.connectTimeoutMs ?? connectTimeout(this.stallTimeoutMs)
    this.#ways = new Ways(options, { connectMs, stallMs: this.stallTimeoutMs }, this.names.lookup)
  }

  /** See {@link Ways.proxyFor}. */
  proxyFor(url: URL): Proxy | undefined {
    return this.#ways.proxyFor(url)
  }

  /**
   * Makes one request and follows up to five redirects of GET and HEAD. Authorization is dropped for good where
   * a redirect leaves the origin, and a redirect from HTTPS to plain HTTP is refused. Any other status is
   * returned; the caller must consume or discard the body.
   * @throws AirgapError `NETWORK`, `TLS`, `REGISTRY` (a bad redirect), `INTERRUPTED`; `USAGE` and `CREDENTIALS` for a
   *   proxy, `FILE` for certificates that concern the host
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
      const fail = (reason: string, hint?: string): never => {
        throw new AirgapError('REGISTRY', `cannot ${request.context.operation}: ${reason}`, { hint })
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

  /** Whether going on from one URL to another would give up encryption that the user did not give up. */
  isDowngrade(from: URL, to: URL): boolean {
    if (from.protocol !== 'https:' || to.protocol === 'https:') return false
    const local = isLoopbackHost(from.hostname) && isLoopbackHost(to.hostname)
    return !local && !isListed(this.#plainHttp, to)
  }

  /** One hop, when its host is to be asked. */
  async #watched(
    request: HttpRequest,
    url: URL,
    authorization: string | undefined,
    secrets: string[],
  ): Promise<HttpResponse> {
    const { context, signal, method, isAside = false } = request
    const to = { host: url.host, context, counts: !isAside, hasBody: method !== 'HEAD', signal }
    const { response, chunks, blame } = await this.#hosts.send(to, () =>
      this.#once(request, url, authorization, secrets),
    )
    const { statusCode, headers, body } = response
    return { method, status: statusCode, headers, body, chunks, blame, url, requested: request.url, secrets }
  }

  async #once(
    request: HttpRequest,
    url: URL,
    authorization: string | undefined,
    secrets: string[],
  ): Promise<Dispatcher.ResponseData> {
    const { method, body = null, signal, context } = request
    const way = await this.#wayFor(url, body)
    if (way.proxy?.authorization !== undefined) secrets.push(...secretsIn(way.proxy.authorization))
    try {
      const response = await way.dispatcher.request({
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
      })
      // A body that is given up early emits an error; whoever reads it gets that error from the reading.
      response.body.on('error', () => {})
      return response
    } catch (error) {
      const stallMs = request.answerTimeoutMs ?? this.stallTimeoutMs
      throw await wayError(error, way, url, context, signal, { stallMs, scheme: url.protocol })
    }
  }

  /** The way to a host. A body that waits for it, and is not sent after all, is let go. */
  async #wayFor(url: URL, body: HttpRequest['body'] | null): Promise<Way> {
    const stream = body instanceof Readable ? body : undefined
    // Until undici listens, a fault of the stream would be nobody's, and end the process.
    stream?.on('error', () => {})
    try {
      return await this.#ways.to(url)
    } catch (error) {
      stream?.destroy()
      throw error
    }
  }

  /** A body that goes out as fast as it may. */
  async #paced(body: HttpRequest['body'] | null): Promise<Readable | Uint8Array | string | null> {
    const { rate } = this.#hosts
    if (rate === undefined || body === null || body === undefined) return body ?? null
    if (body instanceof Readable) return Readable.from(rate.pace(body), { objectMode: false })
    await rate.take(body.length)
    return body
  }

  async close(): Promise<void> {
    await this.#ways.close()
  }
}

/**
 * The Location of an answer, absolute. A user part is of no effect: requests use origin, path and query only.
 * @throws AirgapError `REGISTRY` when it is missing, unreadable or not HTTP.
 */
export function locationOf(response: HttpResponse, context: Context): URL {
  const { location } = response.headers
  const fail = (reason: string, hint = NO_REGISTRY): never => {
    throw new AirgapError('REGISTRY', `cannot ${context.operation}: ${context.registry} ${reason}`, { hint })
  }
  if (location === undefined || location === '') return fail('answers without a Location')
  let url: URL
  try {
    url = new URL(location, response.url)
  } catch {
    return fail('answers with an unreadable Location')
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    return fail(`answers with a Location of the kind ${url.protocol}`)
  }
  if (isLinkLocalHost(url.hostname) && !isLinkLocalHost(response.requested.hostname)) {
    return fail(
      `answers with a Location on ${url.host}, where clouds keep the secrets of this machine`,
      'Nothing was sent there. No registry has a reason for it: tell whoever runs this one, or the proxy in front of it.',
    )
  }
  return url
}

/** One header as a single text. */
export function headerOf(response: HttpResponse, name: string): string | undefined {
  const value = response.headers[name]
  return Array.isArray(value) ? value[0] : value
}

/** The Content-Type without parameters, lower case; empty when there is none. */
export function contentTypeOf(response: HttpResponse): string {
  return (headerOf(response, 'content-type') ?? '').replace(/;.*$/s, '').trim().toLowerCase()
}

/** What an answer's bytes are wrapped in although requests ask for nothing (`accept-encoding: identity`). */
export function contentEncodingOf(response: HttpResponse): string | undefined {
  const text = (headerOf(response, 'content-encoding') ?? '').trim().toLowerCase()
  return text === '' || text === 'identity' ? undefined : text
}

/** Content-Length, where it is a plain number. */
export function contentLengthOf(response: HttpResponse): number | undefined {
  const text = headerOf(response, 'content-length') ?? ''
  return /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined
}

/** Gives up an answer's body; a short one is read to its end so that the connection can be used again. */
export function discard(response: HttpResponse): void {
  // dump() reads a bounded amount and then closes; a failure while nobody wants the bytes is of no interest.
  response.body.dump({ limit: 16 * 1024 }).catch(() => {})
}

/**
 * Reads a body into memory, up to `limit` bytes.
 * @returns undefined when there is more than that.
 * @throws AirgapError `NETWORK`
 */
export async function readCapped(
  response: HttpResponse,
  limit: number,
  context: Context,
  signal?: AbortSignal,
): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    for await (const chunk of response.chunks) {
      length += chunk.length
      if (length > limit) return undefined
      chunks.push(chunk)
    }
  } catch (error) {
    throw transportError(error, context, response.url.host, signal, { scheme: response.url.protocol })
  }
  return Buffer.concat(chunks)
}

/** Turns an answer into the error that it means; reads at most {@link MAX_ERROR_BODY} of it. */
export async function failure(
  response: HttpResponse,
  auth: AuthState,
  context: Context,
  isTokenService = false,
): Promise<AirgapError> {
  const chunks: Uint8Array[] = []
  try {
    let length = 0
    for await (const chunk of response.chunks) {
      chunks.push(chunk)
      length += chunk.length
      if (length >= MAX_ERROR_BODY) break
    }
  } catch {
    // The status tells enough; what was readable of the explanation is quoted.
  }
  const elsewhere = response.url.origin !== response.requested.origin
  const said = Buffer.concat(chunks).subarray(0, MAX_ERROR_BODY)
  // Proxies and debugging pages repeat what they were sent.
  const body =
    response.secrets.length === 0
      ? said
      : Buffer.from(withoutSecrets(said.toString('utf8'), response.secrets))
  const error = statusError(
    {
      status: response.status,
      isWrite: response.method !== 'GET' && response.method !== 'HEAD',
      contentType: contentTypeOf(response),
      retryAfter: headerOf(response, 'retry-after'),
      rateLimit: headerOf(response, 'ratelimit-limit'),
      date: headerOf(response, 'date'),
      body,
      redirectedTo: elsewhere && !isTokenService ? response.url.host : undefined,
      tokenService: isTokenService ? response.url.host : undefined,
      auth,
    },
    context,
  )
  noteAnswer(error, {
    status: response.status,
    body,
    path: response.requested.pathname,
    auth: auth.kind,
  })
  return response.blame(error)
}
