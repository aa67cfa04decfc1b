import type { IncomingHttpHeaders } from 'node:http'
import { parseChallenges, type Challenge } from './challenge.ts'
import { accountOf, type CredentialSource, type Credentials } from './credentials.ts'
import type { Endpoint } from './endpoint.ts'
import type { AuthState } from './http-errors.ts'
import type { Context } from './notices.ts'
import type { RealmRules } from './realm.ts'
import { basicHeader, fetchToken, type Token } from './token.ts'
import type { Transport } from './transport.ts'

/** A token is renewed this long before it ends, so that it does not end on the way. */
const RENEW_BEFORE_MS = 10_000
const MAX_TOKENS = 4096

/** What a request is sent with. */
export interface Grant {
  header: string
  state: AuthState
  /** Of the token cache; absent for Basic. */
  key?: string
  /** Got for this request, not taken from the cache: a 401 to it is a denial. */
  fresh: boolean
}

export interface AuthRequest {
  endpoint: Endpoint
  repository: string
  /** The needed scope first (`repository:NAME:pull`), others that would help after it. */
  scopes: readonly string[]
  context: Context
}

type Way = { kind: 'basic' } | { kind: 'bearer'; realm: string; service: string | undefined }

interface Cached {
  token: Promise<Token>
  /** Both are set once the token is there. Milliseconds of `Date.now()`. */
  expires?: number
  header?: string
}

/** Answers registries' challenges; remembers each registry's way in, and tokens by registry, scope and credentials. */
export class Authenticator {
  readonly #transport: Transport
  readonly #credentials: CredentialSource
  readonly #rules: RealmRules
  readonly #ways = new Map<string, Way>()
  readonly #services = new Map<string, string>()
  readonly #tokens = new Map<string, Cached>()

  constructor(transport: Transport, credentials: CredentialSource, rules: RealmRules) {
    this.#transport = transport
    this.#credentials = credentials
    this.#rules = rules
  }

  /**
   * What to send with a first try: nothing until the registry has asked for something.
   * @param forced is the way to go whatever the registry has asked for.
   */
  async grant(request: AuthRequest, forced?: 'basic' | 'anonymous'): Promise<Grant | undefined> {
    if (forced === 'anonymous') return undefined
    const way = forced === 'basic' ? BASIC : this.#ways.get(request.endpoint.url.origin)
    if (way === undefined) return undefined
    return this.#follow(way, request, request.scopes)
  }

  /**
   * What to send after a 401.
   * @param refused what the refused request was sent with.
   * @returns undefined when there is nothing better: no usable challenge, no credentials, or fresh ones refused.
   */
  async answer(
    header: IncomingHttpHeaders['www-authenticate'],
    refused: Grant | undefined,
    request: AuthRequest,
  ): Promise<Grant | undefined> {
    const challenges = parseChallenges(header)
    const bearer = challenges.find(({ scheme, params }) => scheme === 'bearer' && params.get('realm'))
    const way = bearer
      ? bearerWay(bearer)
      : challenges.some(({ scheme }) => scheme === 'basic')
        ? BASIC
        : undefined
    if (way === undefined) return undefined
    const { origin } = request.endpoint.url
    this.#ways.set(origin, way)
    if (way.kind === 'bearer' && way.service !== undefined) this.#services.set(origin, way.service)
    // Who asks for nothing in particular only shows who he is; some registries name an example's scope then.
    const scopes = request.scopes.length === 0 ? [] : mergeScopes(request.scopes, bearer?.params.get('scope'))
    if (refused !== undefined && !refused.fresh) this.#forget(refused)
    const grant = await this.#follow(way, request, scopes)
    if (grant === undefined) return undefined
    const again = refused !== undefined && refused.header === grant.header
    return again ? undefined : grant
  }

  /** The service that a registry has asked tokens for, at any time: it may have asked for something else since. */
  serviceOf({ url }: Endpoint): string | undefined {
    return this.#services.get(url.origin)
  }

  /** The state of a request without credentials, with the places where they were looked for. */
  unauthenticated(kind: 'none' | 'anonymous'): AuthState {
    return { kind, places: this.#credentials.places?.() }
  }

  async #follow(way: Way, request: AuthRequest, scopes: readonly string[]): Promise<Grant | undefined> {
    const { endpoint, repository } = request
    const credentials = await this.#credentials.find(endpoint.registry, repository)
    if (credentials?.kind === 'bearer') {
      const state: AuthState = { kind: 'token', ...accountOf(credentials) }
      return { header: `Bearer ${credentials.token}`, state, fresh: true }
    }
    if (way.kind === 'basic') {
      const header = credentials && basicHeader(credentials)
      if (header === undefined || credentials === undefined) return undefined
      return { header, state: { kind: 'basic', ...accountOf(credentials) }, fresh: true }
    }
    return this.#bearer(way, request, scopes, credentials)
  }

  async #bearer(
    way: Way & { kind: 'bearer' },
    request: AuthRequest,
    scopes: readonly string[],
    credentials: Credentials | undefined,
  ): Promise<Grant> {
    const { endpoint, context } = request
    const key = JSON.stringify([endpoint.url.origin, way.realm, way.service, scopes, credentials?.id])
    let cached = this.#tokens.get(key)
    let fresh = false
    if (cached === undefined || (cached.expires !== undefined && cached.expires <= Date.now())) {
      fresh = true
      const token = fetchToken({
        transport: this.#transport,
        endpoint,
        rules: this.#rules,
        realm: way.realm,
        service: way.service,
        scopes,
        credentials,
        places: this.#credentials.places?.(),
        context,
      })
      cached = { token }
      this.#store(key, cached)
    }
    const { value, issuedAt } = await cached.token
    const state: AuthState =
      credentials === undefined
        ? { ...this.unauthenticated('anonymous'), issuedAt }
        : { kind: 'token', ...accountOf(credentials), issuedAt }
    return { header: `Bearer ${value}`, state, key, fresh }
  }

  /** Drops a refused token, unless somebody else has renewed it in the meantime. */
  #forget({ key, header }: Grant): void {
    if (key !== undefined && this.#tokens.get(key)?.header === header) this.#tokens.delete(key)
  }

  /** Keeps a token that is under way, so that others wait for it instead of asking too. */
  #store(key: string, cached: Cached): void {
    const oldest = this.#tokens.keys().next()
    if (this.#tokens.size >= MAX_TOKENS && !oldest.done) this.#tokens.delete(oldest.value)
    this.#tokens.set(key, cached)
    cached.token.then(
      ({ value, lifetimeMs }) => {
        cached.header = `Bearer ${value}`
        cached.expires = Date.now() + lifetimeMs - RENEW_BEFORE_MS
      },
      () => {
        if (this.#tokens.get(key) === cached) this.#tokens.delete(key)
      },
    )
  }
}

const BASIC: Way = { kind: 'basic' }

function bearerWay({ params }: Challenge): Way {
  return { kind: 'bearer', realm: params.get('realm') ?? '', service: params.get('service') }
}

/** Our scopes, and behind them those of the challenge that they do not take in. */
function mergeScopes(ours: readonly string[], asked: string | undefined): string[] {
  const merged = [...ours]
  for (const scope of (asked ?? '').split(/ +/).filter(Boolean)) {
    if (!merged.some((own) => takesIn(own, scope))) merged.push(scope)
  }
  return merged.slice(0, 8)
}

function takesIn(own: string, other: string): boolean {
  const [ownName, ownActions] = splitScope(own)
  const [otherName, otherActions] = splitScope(other)
  return ownName === otherName && otherActions.every((action) => ownActions.includes(action))
}

function splitScope(scope: string): [string, string[]] {
  const colon = scope.lastIndexOf(':')
  return [scope.slice(0, Math.max(colon, 0)), scope.slice(colon + 1).split(',')]
}
