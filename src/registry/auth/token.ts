import * as v from 'valibot'
import { AirgapError } from '../../errors.ts'
import { accountOf, type Credentials } from './credentials.ts'
import type { Endpoint } from '../endpoint.ts'
import type { AuthState } from '../faults/answer.ts'
import { during, type Context } from '../notices.ts'
import { issuedAtOf } from '../faults/clock.ts'
import { TOKEN_SERVICE } from '../faults/quote.ts'
import { parseHttpDate } from '../net/throttle/retry-after.ts'
import { checkRealm, type RealmRules } from './realm.ts'
import { contentTypeOf, discard, failure, headerOf, readCapped, type HttpResponse } from '../net/http.ts'
import { type Transport } from '../net/transport.ts'

const MAX_TOKEN_ANSWER = 256 * 1024
/** The minimum lifetime to assume: some services state less, or nothing, and clocks differ. */
const MIN_LIFETIME_S = 60
const MAX_LIFETIME_S = 24 * 60 * 60

export interface TokenRequest {
  transport: Transport
  endpoint: Endpoint
  rules: RealmRules
  /** As in the challenge; may be relative to the registry. */
  realm: string
  service: string | undefined
  /** Sets of scopes to request, the needed scope first. If one set is refused, the next is tried. */
  choices: readonly (readonly string[])[]
  credentials: Credentials | undefined
  /** The state for a request without credentials: where they were searched for. */
  stranger: AuthState
  context: Context
}

export interface Token {
  value: string
  /** From the arrival of the answer. */
  lifetimeMs: number
  /** When it was issued, by the service's clock. */
  issuedAt: number | undefined
}

const TokenAnswer = v.object({
  token: v.optional(v.nullable(v.string())),
  access_token: v.optional(v.nullable(v.string())),
  // Some services write it as text.
  expires_in: v.optional(
    v.nullable(v.union([v.number(), v.pipe(v.string(), v.regex(/^[0-9]{1,15}$/), v.transform(Number))])),
  ),
  // Only used to explain a refusal, so it may be anything.
  issued_at: v.optional(v.unknown()),
})

/**
 * Gets a Bearer token (distribution-spec's token authentication): by GET, with Basic credentials if there are any. For
 * an identity token by POST, or by GET where the service has no POST.
 *
 * @returns the token, and the choice of scopes that it is for.
 * @throws AirgapError `UNAUTHORIZED`, `DENIED`, `CREDENTIALS` (a refused realm), `REGISTRY`, `NETWORK`, `TLS`
 */
export async function fetchToken(
  request: TokenRequest,
): Promise<{ token: Token; scopes: readonly string[] }> {
  const { endpoint, rules, context } = request
  let realm: URL
  try {
    realm = new URL(request.realm, endpoint.url)
  } catch {
    throw new AirgapError('REGISTRY', `${endpoint.registry} names an unreadable token realm`, {
      ...during(context),
      hint: TOKEN_SERVICE,
    })
  }
  await checkRealm(realm, endpoint, rules, context)
  const [first = [], ...others] = request.choices
  let scopes = first
  let response = await ask(request, realm, scopes)
  for (const fewer of others) {
    if (!isRefusal(response.status)) break
    discard(response)
    scopes = fewer
    response = await ask(request, realm, scopes)
  }
  return { token: await readToken(request, response), scopes }
}

/** Whether fewer scopes may help: some services refuse all because of one, some accept only a few. */
function isRefusal(status: number): boolean {
  return status >= 400 && status < 500 && status !== 408 && status !== 425 && status !== 429
}

async function ask(request: TokenRequest, realm: URL, scopes: readonly string[]): Promise<HttpResponse> {
  const { transport, endpoint, rules, credentials, context, service } = request
  if (credentials?.kind === 'identity') {
    const form = new URLSearchParams({ grant_type: 'refresh_token', client_id: 'airgap' })
    if (service !== undefined) form.set('service', service)
    form.set('scope', scopes.join(' '))
    form.set('refresh_token', credentials.token)
    const response = await transport.request({
      method: 'POST',
      url: realm,
      headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
      body: form.toString(),
      secrets: [credentials.token],
      isAside: true,
      context,
    })
    if (response.status !== 404 && response.status !== 405) return response
    discard(response)
  }
  const url = new URL(realm)
  const query = new URLSearchParams()
  if (service !== undefined && !url.searchParams.has('service')) query.set('service', service)
  for (const scope of scopes) query.append('scope', scope)
  // Appended as text, so that the realm's own query stays unchanged.
  url.search = [url.search.slice(1), query.toString()].filter(Boolean).join('&')
  return transport.request({
    method: 'GET',
    url,
    headers: { accept: 'application/json' },
    authorization: credentials && basicHeader(credentials),
    isAside: true,
    context,
    checkRedirect: (to) => checkRealm(to, endpoint, rules, context),
  })
}

/** The Basic header for credentials; an identity token takes the password's place. */
export function basicHeader(credentials: Credentials): string | undefined {
  if (credentials.kind === 'bearer') return undefined
  const { username } = credentials
  const password = credentials.kind === 'basic' ? credentials.password : credentials.token
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}

async function readToken(request: TokenRequest, response: HttpResponse): Promise<Token> {
  const { credentials, endpoint, context } = request
  if (response.status !== 200) {
    throw await failure(
      response,
      credentials === undefined ? request.stranger : { kind: 'basic', ...accountOf(credentials) },
      context,
      true,
    )
  }
  const fail = (reason: string): never => {
    throw new AirgapError('REGISTRY', `the token service of ${endpoint.registry} ${reason}`, {
      ...during(context),
      hint: TOKEN_SERVICE,
    })
  }
  const bytes = await readCapped(response, MAX_TOKEN_ANSWER, context)
  if (bytes === undefined) return fail(`answers with more than ${MAX_TOKEN_ANSWER} bytes`)
  let answer: v.InferOutput<typeof TokenAnswer>
  try {
    answer = v.parse(TokenAnswer, JSON.parse(bytes.toString('utf8')))
  } catch {
    // No cause: a parser's message would quote the token.
    const type = contentTypeOf(response)
    return fail(`does not answer with a token${type === 'text/html' ? ' but with an HTML page' : ''}`)
  }
  const value = answer.token || answer.access_token
  if (!value) return fail('answers without a token')
  if (!/^[\x21-\x7e]+$/.test(value)) return fail('answers with a token that no header can hold')
  const left = (answer.expires_in ?? 0) - ageOf(answer.issued_at, headerOf(response, 'date'))
  const seconds = Math.min(Math.max(left, MIN_LIFETIME_S), MAX_LIFETIME_S)
  return { value, lifetimeMs: seconds * 1000, issuedAt: issuedAtOf(value, answer.issued_at) }
}

/** Seconds since a token was issued, by the service's clock: a token that the service had cached has less time left. */
function ageOf(issuedAt: unknown, date: string | undefined): number {
  const issued = typeof issuedAt === 'string' ? Date.parse(issuedAt) : Number.NaN
  const now = parseHttpDate(date)
  if (Number.isNaN(issued) || now === undefined) return 0
  return Math.max(0, (now - issued) / 1000)
}
