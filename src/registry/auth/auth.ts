import type { IncomingHttpHeaders } from 'node:http'
import { AirgapError, withHint } from '../../errors.ts'
import { type Challenge, parseChallenges } from './challenge.ts'
import { accountOf, type Credentials, type CredentialSource } from './credentials.ts'
import type { Endpoint } from '../endpoint.ts'
import { Expected } from '../expected.ts'
import { authorityOf } from '../net/hosts.ts'
import type { AuthState } from '../faults/answer.ts'
import type { Context } from '../notices.ts'
import type { RealmRules } from './realm.ts'

import { type Actions, grantsIn, grantsOf, mergeScopes, takeIn } from './scopes.ts'
import { basicHeader, fetchToken, type Token, type TokenRequest } from './token.ts'
import { type TokenEntry, TokenGroup } from './token-group.ts'
import type { Transport } from '../net/transport.ts'

/** The authentication of a request. */
export interface Grant {
  header: string
  state: AuthState
  /** Fetched for this request, not taken from the cache: a 401 to it is final. */
  fresh: boolean
  /** Where the token is kept; absent for Basic. */
  kept?: { group: TokenGroup; entry: TokenEntry }
  /** Replaces a shared token that was refused. */
  isOwn?: boolean
}

export interface AuthRequest {
  endpoint: Endpoint
  repository: string
  /** The needed scope first (`repository:NAME:pull`), then others that would help. */
  scopes: readonly string[]
  context: Context
}

type Method = { kind: 'basic' } | { kind: 'bearer'; realm: string; service: string | undefined }

/** A shared token may turn out to hold less than was asked for: look for one at most this often. */
const MOST_TURNS = 3

/**
 * Answers registries' challenges. Remembers how each registry authenticates, and tokens by registry, scope and
 * credentials.
 */
export class Authenticator {
  readonly #transport: Transport
  readonly #credentials: CredentialSource
  readonly #rules: RealmRules
  readonly #methods = new Map<string, Method>()
  readonly #groups = new Map<string, TokenGroup>()
  readonly #expected = new Map<string, Expected>()
  readonly #services = new Map<string, string>()

  constructor(transport: Transport, credentials: CredentialSource, rules: RealmRules) {
    this.#transport = transport
    this.#credentials = credentials
    this.#rules = rules
  }

  /** Announces which repositories will be used, so that one token can be requested for several of them. */
  expect(registry: string, repositories: Iterable<string>, actions: Actions): void {
    this.#expectedOf(registry).add(repositories, actions)
  }

  /** Announces which repositories blobs will be mounted from. */
  expectSources(registry: string, repositories: readonly string[]): void {
    this.#expectedOf(registry).addSources(repositories)
  }

  #expectedOf(registry: string): Expected {
    const authority = authorityOf(registry)
    const expected = this.#expected.get(authority) ?? new Expected()
    this.#expected.set(authority, expected)
    return expected
  }

  /**
   * What to send with a first try: nothing until the registry has sent a challenge.
   * @param forced what to use whatever the registry has asked for.
   */
  async grant(request: AuthRequest, forced?: 'basic' | 'anonymous'): Promise<Grant | undefined> {
    if (forced === 'anonymous') return undefined
    const method = forced === 'basic' ? BASIC : this.#methods.get(request.endpoint.url.origin)
    if (method === undefined) return undefined
    return this.#follow(method, request, request.scopes)
  }

  /**
   * Whether a refusal may be about the token rather than the account: the first 401; or a 401 or 403 to a shared token
   * that has not opened this repository yet.
   * @param refusals how often this request was refused, this time included.
   */
  mayBeMended(
    status: number,
    grant: Grant | undefined,
    { repository }: AuthRequest,
    refusals: number,
  ): boolean {
    if (status !== 401 && status !== 403) return false
    const entry = grant?.kept?.entry
    const isUnproven = entry?.isShared === true && !entry.proven.has(repository)
    return refusals === 1 ? status === 401 || isUnproven : refusals === 2 && isUnproven
  }

  /** Records an answer's status: the grant worked if the answer is not a refusal. */
  heard(status: number, grant: Grant | undefined, { repository }: AuthRequest): void {
    if (status >= 500 || SAYS_NOTHING.has(status)) return
    grant?.kept?.entry.proven.add(repository)
    if (grant?.isOwn) grant.kept?.group.wasUseless()
  }

  /**
   * What to send after a 401, or another refusal for which {@link mayBeMended} is true.
   * @param refused the grant of the refused request.
   * @returns undefined when there is nothing better: no usable challenge, no credentials, or a fresh grant was refused.
   */
  async answer(
    header: IncomingHttpHeaders['www-authenticate'],
    refused: Grant | undefined,
    request: AuthRequest,
  ): Promise<Grant | undefined> {
    const { origin } = request.endpoint.url
    const challenges = parseChallenges(header)
    const bearer = challenges.find(({ scheme, params }) => scheme === 'bearer' && params.get('realm'))
    const isBasic = challenges.some(({ scheme }) => scheme === 'basic')
    // A registry that has asked for tokens does not want Basic because it was sent one: Harbor answers every token that
    // it refuses with a Basic challenge. A shared token may be refused without any challenge.
    const isKnown = refused?.kept !== undefined && (isBasic || refused.kept.entry.isShared)
    const known = isKnown ? this.#methods.get(origin) : undefined
    const method = bearer ? bearerMethod(bearer) : (known ?? (isBasic ? BASIC : undefined))
    if (method === undefined) return undefined
    this.#methods.set(origin, method)
    if (refused && (await this.#isForNobody(refused, request))) return undefined
    if (method.kind === 'bearer' && method.service !== undefined) this.#services.set(origin, method.service)
    // A request without scopes only proves the account; some registries name an example scope in that case.
    const scopes = request.scopes.length === 0 ? [] : mergeScopes(request.scopes, bearer?.params.get('scope'))
    const fault = challenges.map(({ params }) => params.get('error')).find(Boolean)
    const isOwn = refused?.kept?.group.refused(refused.kept.entry, request.repository, fault, refused.fresh)
    const grant = await this.#follow(method, request, scopes)
    if (grant === undefined) return undefined
    const again = refused !== undefined && refused.header === grant.header
    return again ? undefined : { ...grant, ...(isOwn ? { isOwn } : {}) }
  }

  /** The state of a refused request: the token was refused, or the credentials that it was issued for. */
  async refusedState(grant: Grant, request: AuthRequest): Promise<AuthState> {
    const { state } = grant
    if (state.kind !== 'token' || !(await this.#isForNobody(grant, request))) return state
    return { ...state, kind: 'basic' }
  }

  /**
   * Whether a token was issued for credentials that the service does not know. A service may answer such credentials
   * with a token that allows nothing, and refuse them only when no scope is requested (Harbor:
   * src/core/service/token/creator.go). So it is asked without a scope, once, if a token does not grant what was
   * needed.
   */
  async #isForNobody({ kept, state }: Grant, request: AuthRequest): Promise<boolean> {
    const method = this.#methods.get(request.endpoint.url.origin)
    if (!kept || state.kind !== 'token' || method?.kind !== 'bearer') return false
    const { value } = await kept.entry.token
    const granted = grantsIn(value)
    if (granted === undefined || takeIn(granted, request.scopes.slice(0, 1))) return false
    kept.group.areUnknown ??= this.#areUnknown(method, request)
    return kept.group.areUnknown
  }

  async #areUnknown(method: Method & { kind: 'bearer' }, request: AuthRequest): Promise<boolean> {
    const credentials = await this.#credentials.find(request.endpoint.registry, request.repository)
    if (credentials === undefined) return false
    try {
      await fetchToken({ ...this.#tokenRequest(method, request, credentials), choices: [[]] })
      return false
    } catch (error) {
      return error instanceof AirgapError && error.code === 'UNAUTHORIZED'
    }
  }

  #tokenRequest(
    { realm, service }: Method & { kind: 'bearer' },
    { endpoint, context }: AuthRequest,
    credentials: Credentials | undefined,
  ): Omit<TokenRequest, 'choices'> {
    return {
      transport: this.#transport,
      endpoint,
      rules: this.#rules,
      realm,
      service,
      stranger: this.unauthenticated('anonymous', endpoint.registry),
      context,
      credentials,
    }
  }

  /** The last `service` in a registry's Bearer challenge; it is kept even if later challenges have none. */
  serviceOf({ url }: Endpoint): string | undefined {
    return this.#services.get(url.origin)
  }

  /** The state of a request without credentials, with the places that were searched for them. */
  unauthenticated(kind: 'none' | 'anonymous', registry: string): AuthState {
    return {
      kind,
      places: this.#credentials.places?.(),
      troubles: this.#credentials.troubles?.(registry).map(withHint),
    }
  }

  async #follow(method: Method, request: AuthRequest, scopes: readonly string[]): Promise<Grant | undefined> {
    const { endpoint, repository } = request
    const credentials = await this.#credentials.find(endpoint.registry, repository)
    if (credentials?.kind === 'bearer') {
      const state: AuthState = { kind: 'token', ...accountOf(credentials) }
      return { header: `Bearer ${credentials.token}`, state, fresh: true }
    }
    if (method.kind === 'basic') {
      const header = credentials && basicHeader(credentials)
      if (header === undefined || credentials === undefined) return undefined
      return { header, state: { kind: 'basic', ...accountOf(credentials) }, fresh: true }
    }
    return this.#bearer(method, request, scopes, credentials)
  }

  async #bearer(
    method: Method & { kind: 'bearer' },
    request: AuthRequest,
    scopes: readonly string[],
    credentials: Credentials | undefined,
  ): Promise<Grant> {
    const key = JSON.stringify([request.endpoint.url.origin, method.realm, method.service, credentials?.id])
    const group = this.#groups.get(key) ?? new TokenGroup()
    this.#groups.set(key, group)
    for (let turn = 1; ; turn++) {
      const { entry, fresh } = await group.inTurn(async () => {
        const known = group.find(request.repository, scopes)
        if (known) return { entry: known, fresh: false }
        const asked = await group.batch(
          request.repository,
          scopes,
          this.#expected.get(authorityOf(request.endpoint.registry)),
          (other) => this.#isSame(request.endpoint.registry, other, credentials),
        )
        const to = this.#tokenRequest(method, request, credentials)
        return { entry: askFor(to, scopes, asked, group), fresh: true }
      })
      const { value, issuedAt } = await entry.token.catch((error: unknown) => {
        throw inWordsOf(request.context, error)
      })
      if (fresh || turn === MOST_TURNS || takeIn(entry.grants, scopes)) {
        const state: AuthState =
          credentials === undefined
            ? { ...this.unauthenticated('anonymous', request.endpoint.registry), issuedAt }
            : { kind: 'token', ...accountOf(credentials), issuedAt }
        return { header: `Bearer ${value}`, state, fresh, kept: { group, entry } }
      }
    }
  }

  /** Whether another repository of a registry has the same credentials, or none either. */
  async #isSame(registry: string, other: string, credentials: Credentials | undefined): Promise<boolean> {
    if (this.#credentials.isPerRegistry) return true
    try {
      return (await this.#credentials.find(registry, other))?.id === credentials?.id
    } catch {
      // The request that needs that repository reports it.
      return false
    }
  }
}

/** Several requests wait for one token; each reports its failure with its own operation. */
function inWordsOf({ operation }: Context, error: unknown): unknown {
  if (!(error instanceof AirgapError) || error.doing === undefined || error.doing === operation) return error
  return error.with({ doing: operation, cause: error })
}

/** Refusals, and statuses that are answered before the token is checked. */
const SAYS_NOTHING = new Set([401, 403, 408, 425, 429])

const BASIC: Method = { kind: 'basic' }

function bearerMethod({ params }: Challenge): Method {
  return { kind: 'bearer', realm: params.get('realm') ?? '', service: params.get('service') }
}

/**
 * Requests a token, and keeps it with its group while the request runs. If the service refuses the scopes together,
 * fewer are requested: only those needed, then only the first of these. Each refusal costs one more request.
 *
 * @param scopes what is needed, the most important first.
 * @param asked the same, with what other requests will need.
 */
function askFor(
  to: Omit<TokenRequest, 'choices'>,
  scopes: readonly string[],
  asked: readonly string[],
  group: TokenGroup,
): TokenEntry {
  const isShared = asked.length > scopes.length
  const own = [scopes, ...(scopes.length > 1 ? [scopes.slice(0, 1)] : [])]
  const narrow = (granted: readonly string[]): void => {
    entry.grants = grantsOf(granted)
    entry.isShared = false
  }
  const fetch = async (): Promise<Token> => {
    const found = await fetchToken({ ...to, choices: isShared ? [asked, ...own] : own })
    if (found.scopes !== asked || !isShared) {
      if (isShared) group.wasUseless()
      narrow(found.scopes)
      return found.token
    }
    if (!group.isTooLong(found.token, asked.length)) return found.token
    const fewer = await fetchToken({ ...to, choices: own })
    narrow(fewer.scopes)
    return fewer.token
  }
  const entry: TokenEntry = {
    grants: grantsOf(asked),
    token: fetch(),
    context: to.context,
    isShared,
    isDropped: false,
    proven: new Set(),
  }
  group.add(entry)
  return entry
}
