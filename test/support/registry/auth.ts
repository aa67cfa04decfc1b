import { createHash, timingSafeEqual } from 'node:crypto'
import { isRepository } from '../../../src/oci/reference.ts'
import { fault, json, notAllowed, type Reply } from '../../../src/serve/registry/reply.ts'
import type { EmbeddedRequest } from './registry.ts'
import type { Route } from '../../../src/serve/registry/request.ts'
import { TokenIssuer, type Grants } from './tokens.ts'

interface BearerOptions {
  /** Passwords by user. Left out: anybody gets a token for whatever is asked. */
  users?: Record<string, string>
  /** With `users`: a client without credentials gets tokens for pulling. */
  anonymousPull?: boolean
  /** Seconds, also fractions; 300 where left out. */
  expiresIn?: number
  /** Which of several scopes a token is given for; `all-or-nothing` refuses all where one is denied. */
  scopes?: 'all' | 'first' | 'last' | 'all-or-nothing'
  /** Repositories that nobody gets a token for. */
  denied?: readonly string[]
  /** The longest Authorization header that is taken, as proxies have it. Characters. */
  longestHeader?: number
}

export type AuthOptions = { basic: Record<string, string> } | { bearer: BearerOptions }

export interface Authenticator {
  /** The refusal, or undefined where the request may go on. */
  check(request: EmbeddedRequest): Reply | undefined
  /** Answers the token endpoint; undefined for any other path. */
  token(request: EmbeddedRequest): Promise<Reply | undefined>
  revokeTokens(): void
}

const TOKEN_PATH = '/token'
const SERVICE = 'airgap-embedded-registry'
const FORM_LIMIT = 64 * 1024
const REFRESH_LIFETIME = 24 * 3600 * 1000

export function authenticator(options: AuthOptions | undefined): Authenticator {
  if (!options) return { check: () => undefined, token: async () => undefined, revokeTokens: () => undefined }
  return 'basic' in options ? basicAuth(options.basic) : bearerAuth(options.bearer)
}

function basicAuth(users: Record<string, string>): Authenticator {
  return {
    check: (request) => {
      if (userOf(request.headers.authorization, users) !== undefined) return undefined
      return unauthorized(`Basic realm="${SERVICE}"`)
    },
    token: async () => undefined,
    revokeTokens: () => undefined,
  }
}

/** Docker's token authentication (distribution: docs/spec/auth/token.md and oauth.md), on the same server. */
function bearerAuth(options: BearerOptions): Authenticator {
  const issuer = new TokenIssuer()
  return {
    check: (request) => {
      const { authorization = '' } = request.headers
      if (authorization.length > (options.longestHeader ?? Infinity)) {
        return fault(400, 'UNSUPPORTED', 'request header or cookie too large')
      }
      const needed = neededGrants(request)
      const token = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1]
      const claims = token === undefined ? undefined : issuer.read(token, 'access')
      if (claims && covers(claims.grants, needed)) return undefined
      const error = token === undefined ? '' : `,error="${claims ? 'insufficient_scope' : 'invalid_token'}"`
      const scopes = Object.entries(needed).map(([resource, actions]) => `${resource}:${actions.join(',')}`)
      const scope = scopes.length === 0 ? '' : `,scope="${scopes.join(' ')}"`
      return unauthorized(
        `Bearer realm="${request.origin}${TOKEN_PATH}",service="${SERVICE}"${scope}${error}`,
      )
    },
    token: async (request) =>
      request.path === TOKEN_PATH ? await answerToken(request, options, issuer) : undefined,
    revokeTokens: () => issuer.revokeAll(),
  }
}

async function answerToken(
  request: EmbeddedRequest,
  options: BearerOptions,
  issuer: TokenIssuer,
): Promise<Reply> {
  const users = options.users
  let user: string | undefined
  let hasCredentials = false
  let parameters = request.query
  if (request.method === 'POST') {
    const chunks = await request.readBody(FORM_LIMIT)
    if (!chunks) return fault(413, 'SIZE_INVALID', 'the form is too long')
    parameters = new URLSearchParams(Buffer.concat(chunks).toString())
    hasCredentials = true
    if (parameters.get('grant_type') === 'refresh_token') {
      user = issuer.read(parameters.get('refresh_token') ?? '', 'refresh')?.user
    } else if (parameters.get('grant_type') === 'password') {
      const [name, password] = [parameters.get('username') ?? '', parameters.get('password') ?? '']
      if (!users || knows(users, name, password)) user = name
    } else {
      return json({ error: 'unsupported_grant_type' }, {}, 400)
    }
  } else if (request.method === 'GET') {
    hasCredentials = request.headers.authorization !== undefined
    user = hasCredentials ? userOf(request.headers.authorization, users) : undefined
  } else {
    return notAllowed('GET, POST')
  }
  if (user === undefined && (hasCredentials || (users && !options.anonymousPull))) {
    return unauthorized(`Basic realm="${SERVICE}"`)
  }
  const scopes = parameters.getAll('scope').flatMap((value) => value.split(' '))
  const asked = readScopes(chosen(scopes, options.scopes))
  const denied = (options.denied ?? []).map((repository) => `repository:${repository}`)
  if (options.scopes === 'all-or-nothing' && denied.some((resource) => resource in asked)) {
    return json({ details: 'requested access to the resource is denied' }, {}, 403)
  }
  for (const resource of denied) delete asked[resource]
  const grants = user === undefined && users ? pullOnly(asked) : asked
  const seconds = options.expiresIn ?? 300
  const token = issuer.issue({
    use: 'access',
    user: user ?? '',
    grants,
    expires: Date.now() + seconds * 1000,
  })
  const isLasting = parameters.get('offline_token') === 'true' || parameters.get('access_type') === 'offline'
  const refresh =
    isLasting && user !== undefined
      ? issuer.issue({ use: 'refresh', user, grants: {}, expires: Date.now() + REFRESH_LIFETIME })
      : undefined
  return json(
    {
      token,
      access_token: token,
      expires_in: Math.ceil(seconds),
      issued_at: new Date().toISOString(),
      ...(refresh === undefined ? {} : { refresh_token: refresh }),
    },
    { 'Cache-Control': 'no-store' },
  )
}

/** What the request's route and method need, by resource. */
function neededGrants(request: EmbeddedRequest): Grants {
  const { route, method } = request
  if (route.kind === 'catalog') return { 'registry:catalog': ['*'] }
  const repository = repositoryOf(route)
  if (repository === undefined) return {}
  const reading = method === 'GET' || method === 'HEAD'
  const isUpload = route.kind === 'uploads' || route.kind === 'upload'
  const actions =
    isUpload || !reading ? (method === 'DELETE' && !isUpload ? ['delete'] : ['pull', 'push']) : ['pull']
  const needed: Grants = { [`repository:${repository}`]: actions }
  const from = request.query.get('from')
  if (route.kind === 'uploads' && from !== null && from !== repository && isRepository(from)) {
    needed[`repository:${from}`] = ['pull']
  }
  return needed
}

function repositoryOf(route: Route): string | undefined {
  return 'repository' in route ? route.repository : undefined
}

function covers(held: Grants, needed: Grants): boolean {
  return Object.entries(needed).every(([resource, actions]) => {
    const granted = Object.hasOwn(held, resource) ? (held[resource] ?? []) : []
    return granted.includes('*') || actions.every((action) => granted.includes(action))
  })
}

function chosen(scopes: string[], which: BearerOptions['scopes']): string[] {
  if (which === 'first') return scopes.slice(0, 1)
  return which === 'last' ? scopes.slice(-1) : scopes
}

/** `type:name:action,action`, where the name may hold colons. */
function readScopes(scopes: string[]): Grants {
  const grants = Object.create(null) as Grants
  for (const scope of scopes) {
    const match = /^([a-z]+(?:\([a-z]+\))?:.+):([a-z*]+(?:,[a-z*]+)*)$/.exec(scope)
    if (!match?.[1] || !match[2]) continue
    grants[match[1]] = [...(grants[match[1]] ?? []), ...match[2].split(',')]
  }
  return grants
}

function pullOnly(grants: Grants): Grants {
  return Object.fromEntries(
    Object.entries(grants).map(([resource, actions]) => [
      resource,
      actions.filter((action) => action === 'pull'),
    ]),
  )
}

/** The user of a Basic header whose password is right; without a user list, whoever is named. */
function userOf(header: string | undefined, users: Record<string, string> | undefined): string | undefined {
  const encoded = /^Basic ([A-Za-z0-9+/=]+)$/i.exec(header ?? '')?.[1]
  if (encoded === undefined) return undefined
  const text = Buffer.from(encoded, 'base64').toString()
  const colon = text.indexOf(':')
  if (colon < 0) return undefined
  const name = text.slice(0, colon)
  return !users || knows(users, name, text.slice(colon + 1)) ? name : undefined
}

function knows(users: Record<string, string>, name: string, password: string): boolean {
  const expected = Object.hasOwn(users, name) ? users[name] : undefined
  return expected !== undefined && timingSafeEqual(hash(expected), hash(password))
}

function hash(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function unauthorized(challenge: string): Reply {
  return fault(401, 'UNAUTHORIZED', 'authentication required', { 'WWW-Authenticate': challenge })
}
