import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { AirgapError } from '../../errors.ts'
import { withoutSecrets } from '../../text.ts'
import { answerFrom, type AuthState, MAX_ERROR_BODY } from '../faults/answer.ts'
import { NO_REGISTRY, oneLine } from '../faults/quote.ts'
import { statusError } from '../faults/meaning.ts'
import { transportError } from '../faults/transport.ts'
import { during, type Context } from '../notices.ts'

export interface HttpRequest {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  url: URL
  context: Context
  headers?: Record<string, string>
  /** Sent to the origin of `url` only, never after a redirect that leaves it. */
  authorization?: string | undefined
  body?: Readable | Uint8Array | string | undefined
  /** Milliseconds that the answer may take after the request is sent; by default the stall timeout. */
  answerTimeoutMs?: number | undefined
  /** The minimum rate of the answer's body, bytes a second; by default the usual one. */
  leastRate?: number | undefined
  /** Another request waits for this one, so this one must not queue. */
  isAside?: boolean | undefined
  signal?: AbortSignal | undefined
  /** Secrets in the body, which no error may quote. Those in `authorization` need no mention. */
  secrets?: readonly string[] | undefined
  /** Called before a redirect is followed; throws to refuse it. */
  checkRedirect?: ((to: URL) => Promise<void>) | undefined
}

export interface HttpResponse {
  method: HttpRequest['method']
  status: number
  headers: IncomingHttpHeaders
  body: Dispatcher.ResponseData['body']
  /** The body's bytes, at the limited rate. */
  chunks: AsyncIterable<Uint8Array>
  /** Adds to an error made from this answer which host it came from. Returns the error. */
  withOrigin: (error: AirgapError) => AirgapError
  /** Where the answer came from, after redirects. */
  url: URL
  requested: URL
  /** Secrets sent with the request: an error must not quote them where the answer repeats them. */
  secrets: readonly string[]
}

/**
 * The Location of an answer, absolute. A user part has no effect: requests only use origin, path and query.
 * @throws AirgapError `REGISTRY` when it is missing, unreadable or not HTTP.
 */
export function locationOf(response: HttpResponse, context: Context): URL {
  const { location } = response.headers
  const fail = (reason: string): never => {
    throw new AirgapError('REGISTRY', `${context.registry} ${reason}`, {
      ...during(context),
      hint: NO_REGISTRY,
    })
  }
  if (location === undefined || location === '') return fail('answers without a Location')
  let url: URL
  try {
    url = new URL(location, response.url)
  } catch {
    return fail('answers with an unreadable Location')
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    return fail(`answers with a Location that begins with ${url.protocol}`)
  }
  return url
}

/** A header's value; its first one where there are several. */
export function headerOf(response: HttpResponse, name: string): string | undefined {
  const value = response.headers[name]
  return Array.isArray(value) ? value[0] : value
}

/** The Content-Type without parameters, lower case; empty when there is none. */
export function contentTypeOf(response: HttpResponse): string {
  return (headerOf(response, 'content-type') ?? '').replace(/;.*$/s, '').trim().toLowerCase()
}

/** An answer's Content-Encoding, although requests ask for none (`accept-encoding: identity`). */
export function contentEncodingOf(response: HttpResponse): string | undefined {
  const text = (headerOf(response, 'content-encoding') ?? '').trim().toLowerCase()
  return text === '' || text === 'identity' ? undefined : text
}

/** Content-Length, where it is a plain number. */
export function contentLengthOf(response: HttpResponse): number | undefined {
  const text = headerOf(response, 'content-length') ?? ''
  return /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined
}

/** An unwanted body that comes slowly would keep its connection and its transfer slot. */
const DISCARD_MS = 10_000

/** Discards an answer's body. A short one is read to its end so that the connection can be reused. */
export function discard(response: HttpResponse): void {
  // dump() reads a bounded amount and then closes; failures do not matter, because nobody wants the bytes.
  response.body.dump({ limit: 16 * 1024, signal: AbortSignal.timeout(DISCARD_MS) }).catch(() => {})
}

/**
 * Reads a body into memory, up to `limit` bytes.
 * @returns undefined when there are more.
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
    throw response.withOrigin(
      transportError(error, context, response.url.host, signal, { scheme: response.url.protocol }),
    )
  }
  return Buffer.concat(chunks)
}

/** Turns an answer into an error; reads at most {@link MAX_ERROR_BODY} of its body. */
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
    // The status is enough; the part of the explanation that was read is quoted.
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
      isUpload: response.method === 'POST' && !isTokenService,
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
  const answer = answerFrom(body, {
    status: response.status,
    path: response.requested.pathname,
    auth: auth.kind,
  })
  return response.withOrigin(error.with({ answer }))
}

// Bytes are accepted whatever Content-Encoding says: web servers set it for layers that are gzip files themselves. It
// is only reported, as the likely reason, where the bytes do not have the expected digest.

/** The end of a sentence that begins with the content, for messages. */
export function encodingText(encoding: string): string {
  return `comes with Content-Encoding: ${oneLine(encoding)}, although no encoding was requested`
}

/** What to do about content that was changed on its way. */
export function encodingHint(host: string): string {
  return `Most likely a proxy in front of ${host}, or on the way there, compresses what it passes on. Content of registries must not be changed: have compression turned off for it (nginx: gzip off), or use another route.`
}
