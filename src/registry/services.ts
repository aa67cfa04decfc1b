import { STATUS_CODES } from 'node:http'
import { AirgapError, type ErrorCode } from '../errors.ts'
import { withoutSecrets } from '../text.ts'
import { readSaid } from './faults/quote.ts'
import { isListed, isLoopbackHost, printableUrl } from './net/hosts.ts'
import { contentTypeOf, discard, headerOf, readCapped, type HttpResponse } from './net/http.ts'
import { parseRetryAfter } from './net/throttle/retry-after.ts'
import { DEFAULT_RETRY } from './net/throttle/host.ts'
import { withRetry } from './net/retry.ts'
import type { Transport } from './net/transport.ts'
import type { AskService, ServiceRequest } from '../trust/keyless/service.ts'
import { pressureOf, type NetworkOptions } from './options.ts'
import type { Run } from '../content/run.ts'

/** The most bytes to read of an error's body. */
const MAX_ERROR_BODY = 4 * 1024
/** How long to wait for a service that asks for time. Milliseconds. */
const PATIENCE_MS = 60_000

/** The services of a Sigstore instance, reached like registries. */
export interface Services {
  ask: AskService
}

/** Whether a URL may be contacted without TLS: loopback, and what the caller has named. */
export function isPlainHttp({ registries }: NetworkOptions): (url: URL) => boolean {
  const listed = registries?.plainHttp ?? []
  return (url) => isLoopbackHost(url.hostname) || isListed(listed, url)
}

/**
 * Works with services, and closes the connections however the work ends. Proxies, CAs, timeouts and retries are those
 * of registries.
 */
export async function withServices<T>(
  options: NetworkOptions,
  run: Run,
  work: (services: Services) => Promise<T>,
): Promise<T> {
  const {
    caFile,
    insecureSkipTlsVerify,
    plainHttp = [],
    hostTls,
    certsFolders,
    proxies,
  } = options.registries ?? {}
  const { retry, timeoutMs } = pressureOf(options)
  const { Transport: Http } = await import('./net/transport.ts')
  const { Hosts } = await import('./net/throttle/hosts.ts')
  const policy = { ...DEFAULT_RETRY, patienceMs: PATIENCE_MS, ...retry }
  const onNotice: ConstructorParameters<typeof Http>[0]['onNotice'] = (notice) =>
    run.onEvent({ type: 'registry', notice })
  const hosts = new Hosts({ policy, onNotice })
  const transport = new Http({
    caFile,
    insecureSkipTlsVerify,
    plainHttp,
    hostTls,
    certsFolders,
    proxies,
    env: process.env,
    stallTimeoutMs: timeoutMs,
    hosts,
    onNotice,
  })
  const ask: AskService = (request) => {
    const context = { registry: request.url.host, operation: operationOf(request) }
    return withRetry({ policy, context, onNotice, signal: run.signal, hosts }, () =>
      askOnce(transport, request, context, run.signal),
    )
  }
  const close = (): void => {
    hosts.close(new AirgapError('INTERRUPTED', 'the connections were given up'))
    void transport.close()
  }
  run.signal.addEventListener('abort', close, { once: true })
  try {
    return await work({ ask })
  } finally {
    run.signal.removeEventListener('abort', close)
    close()
    await transport.close()
  }
}

type Asked = Awaited<ReturnType<AskService>>
type ServiceContext = Parameters<Transport['request']>[0]['context']

/** Completes "cannot …": the operation, the service, and its URL. */
function operationOf({ operation, service, url }: ServiceRequest): string {
  return `${operation}: ${service} (${printableUrl(url)})`
}

async function askOnce(
  transport: Transport,
  request: ServiceRequest,
  context: ServiceContext,
  signal: AbortSignal,
): Promise<Asked> {
  const { method, url, headers, authorization, body, patienceMs, mayAnswer = [], limit, answers } = request
  const answerTimeoutMs = Math.max(patienceMs ?? 0, transport.stallTimeoutMs)
  // Service URLs are configured, never learned from an answer.
  transport.names.named(url.host)
  let response: HttpResponse
  try {
    response = await transport.request({
      method,
      url,
      headers: headers ?? {},
      authorization,
      body,
      answerTimeoutMs,
      secrets: request.secrets ?? [],
      signal,
      context,
      checkRedirect: (to) =>
        Promise.reject(refused(request, `it redirects to ${to.host}, which is not followed`)),
    })
  } catch (error) {
    throw unreachable(error, request)
  }
  const { status } = response
  const location = headerOf(response, 'location')
  const isGood = status >= 200 && status < 300
  if (!isGood && !mayAnswer.includes(status)) throw await statusFault(response, request)
  if (!isGood) {
    discard(response)
    return { status, body: Buffer.alloc(0), location }
  }
  const contentType = contentTypeOf(response)
  if (answers !== undefined && contentType !== answers) {
    discard(response)
    const found = contentType === '' ? 'an answer without a media type' : JSON.stringify(contentType)
    throw refused(request, `it answers with ${found} instead of ${answers}`, NOT_THERE)
  }
  const bytes = await readCapped(response, limit, context, signal)
  if (!bytes) {
    discard(response)
    throw refused(request, `it answers with more than ${limit} bytes`, NOT_THERE)
  }
  return { status, body: bytes, location }
}

const NOT_THERE =
  'Something else than the service answers there: check its URL, and proxies and login pages in between.'

/** The registry transport's error, with a hint for services. */
function unreachable(error: unknown, { url }: ServiceRequest): unknown {
  if (!(error instanceof AirgapError) || error.code !== 'NETWORK') return error
  const hint = `This machine has to reach ${url.host}: check its name, firewalls, and the proxy (HTTPS_PROXY, NO_PROXY).`
  return error.with({ hint })
}

async function statusFault(response: HttpResponse, request: ServiceRequest): Promise<AirgapError> {
  const { status } = response
  const said = readSaid(await beginningOf(response), contentTypeOf(response))
  const text = said.isPage ? 'an HTML page' : (saidBy(said.words) ?? said.text)
  const quote = text === '' ? '' : ` (${text})`
  const where = status >= 300 && status < 400 ? ', and redirects are not followed' : ''
  const name = STATUS_CODES[status]
  const error = refused(
    request,
    `it answers ${status}${name === undefined ? '' : ` ${name}`}${quote}${where}`,
    status >= 500 ? 'The service is broken or in maintenance. Run the same command again later.' : undefined,
    status === 401 ? 'UNAUTHORIZED' : status === 403 ? 'DENIED' : 'REGISTRY',
  )
  const mayPass = status === 408 || status === 425 || status === 429 || status >= 500
  if (!mayPass) return response.withOrigin(error)
  const retryAfterMs = parseRetryAfter(headerOf(response, 'retry-after'), {
    date: headerOf(response, 'date'),
  })
  return response.withOrigin(error.with({ transience: { retryAfterMs } }))
}

async function beginningOf({ chunks, secrets }: HttpResponse): Promise<Buffer> {
  const parts: Uint8Array[] = []
  let length = 0
  try {
    for await (const chunk of chunks) {
      parts.push(chunk)
      length += chunk.length
      if (length >= MAX_ERROR_BODY) break
    }
  } catch {
    // The status is enough; the part of the explanation that was read is quoted.
  }
  const text = Buffer.concat(parts).subarray(0, MAX_ERROR_BODY).toString('utf8')
  return Buffer.from(withoutSecrets(text, secrets))
}

/** The message in a JSON body, as these services write it. */
function saidBy(words: string): string | undefined {
  try {
    const { message } = JSON.parse(words) as { message?: unknown }
    return typeof message === 'string' ? readSaid(Buffer.from(message), 'text/plain').text : undefined
  } catch {
    return undefined
  }
}

function refused(
  request: ServiceRequest,
  reason: string,
  hint = request.hint,
  code: ErrorCode = 'REGISTRY',
): AirgapError {
  return new AirgapError(code, `cannot ${operationOf(request)}: ${reason}`, { hint })
}
