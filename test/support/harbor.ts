import { MemoryStore } from './registry/memory-store.ts'
import { startRegistry, type EmbeddedRegistry } from './registry/registry.ts'
import type { Reply } from '../../src/serve/registry/reply.ts'
import type { EmbeddedRequest } from './registry/registry.ts'

/*
 * What of Harbor a push meets, around the embedded registry. Modelled on Harbor's API description
 * (api/v2.0/swagger.yaml) and on its code, since no Harbor can be had in tests:
 *
 * - src/server/middleware/v2auth/auth.go: a request without credentials is asked for a token; HEAD always, others only
 *   for a project that there is. An unknown project is 401 with an empty challenge and "project X not found", a known
 *   one without permission 401 with a Basic challenge.
 * - src/core/service/token/creator.go, src/core/service/token/token.go: a token for whatever is asked, which says what
 *   it allows: nothing in an unknown project, and nothing that takes an account to whoever comes with wrong credentials.
 *   401 only to wrong credentials, and to nobody, who ask for nothing.
 * - src/server/middleware/artifactinfo/artifact_info.go: a repository of one part is 400, before anything else.
 * - src/server/middleware/readonly/readonly.go: in read-only mode 403 to whatever would change something.
 * - src/server/middleware/contenttrust/contenttrust.go: 412 to GET and HEAD of a manifest that has no signature of cosign,
 *   signatures themselves excepted.
 * - src/server/middleware/repoproxy/proxy.go, src/server/middleware/quota/*.go, src/server/middleware/immutable/*.go:
 *   proxy caches, storage quotas, immutable tags.
 * - src/server/v2.0/handler/project.go and base.go: who may see and create projects. Releases before 2.3 answer 403 for
 *   a project that there is not.
 * - src/lib/errors/errors.go: a message is followed by ": " and its cause.
 */

export interface HarborProject {
  isPublic?: boolean
  isProxyCache?: boolean
  /** Bytes. */
  quota?: number
  /** Tags that cannot be moved, or all of them. */
  immutable?: string[] | 'all'
  /** `enable_content_trust_cosign`. */
  wantsCosign?: boolean
}

export interface HarborUser {
  password: string
  kind: 'admin' | 'user' | 'system robot' | 'project robot'
  /** The projects that a user or robot may push to, or all of them. */
  projects: 'all' | string[]
  /** A robot's permission to read projects by the API. */
  readsProjects?: boolean
}

export interface HarborOptions {
  projects?: Record<string, HarborProject>
  users?: Record<string, HarborUser>
  /** `project_creation_restriction`. */
  adminOnly?: boolean
  /** As before 2.3: 403 for a project that there is not. */
  isOld?: boolean
  isReadOnly?: boolean
  /** Something in front of it asks for other credentials. */
  hidesChallenge?: boolean
}

export interface FakeHarbor extends EmbeddedRegistry {
  projects: Map<string, HarborProject>
  /** Bodies of requests to create a project. */
  created: unknown[]
}

type Login = { name: string; user: HarborUser } | undefined

const NAME = /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/

export async function startHarbor(options: HarborOptions = {}): Promise<FakeHarbor> {
  const projects = new Map(Object.entries(options.projects ?? {}))
  const users = options.users ?? { admin: { password: 'secret', kind: 'admin', projects: 'all' } }
  const created: unknown[] = []
  const store = new MemoryStore()
  const used = new Map<string, number>()
  const tokens = new Map<string, Login>()

  function basicOf(request: EmbeddedRequest): Login | 'wrong' {
    const encoded = /^Basic (.+)$/.exec(request.headers.authorization ?? '')?.[1]
    if (encoded === undefined) return undefined
    const text = Buffer.from(encoded, 'base64').toString()
    const name = text.slice(0, text.indexOf(':'))
    const user = Object.hasOwn(users, name) ? users[name] : undefined
    return user?.password === text.slice(name.length + 1) ? { name, user } : 'wrong'
  }

  const mayPush = (login: Login, project: string): boolean => {
    const allowed = login?.user.projects ?? []
    return allowed === 'all' || allowed.includes(project)
  }

  const isPublic = (project: string): boolean => projects.get(project)?.isPublic === true

  function token(request: EmbeddedRequest): Reply {
    const given = basicOf(request)
    const login = given === 'wrong' ? undefined : given
    const scopes = request.query.getAll('scope').flatMap((value) => value.split(' '))
    if (!login && scopes.length === 0) return fault(401, 'UNAUTHORIZED', 'Unauthorized')
    const access = scopes.map((scope) => {
      const [type = '', name = '', actions = ''] = scope.split(':')
      const [project = ''] = name.split('/')
      const may = (action: string): boolean =>
        projects.has(project) && (mayPush(login, project) || (action === 'pull' && isPublic(project)))
      return { type, name, actions: actions.split(',').filter(may) }
    })
    const claims = { iss: 'harbor-token-issuer', sub: login?.name ?? '', jti: String(tokens.size), access }
    const value = ['{}', JSON.stringify(claims), 'signature']
      .map((part) => Buffer.from(part).toString('base64url'))
      .join('.')
    tokens.set(value, login)
    return json(200, { token: value, access_token: '', expires_in: 1800 })
  }

  async function api(request: EmbeddedRequest): Promise<Reply> {
    const path = request.path.slice('/api/v2.0'.length)
    if (path === '/systeminfo') return json(200, { auth_mode: 'db_auth', self_registration: false })
    const login = basicOf(request)
    const reader = login === 'wrong' ? undefined : login
    const name =
      /^\/projects\/(.+)$/.exec(path)?.[1] ??
      (path === '/projects' ? request.query.get('project_name') : undefined)
    if (name && (request.method === 'GET' || request.method === 'HEAD')) {
      const project = projects.get(name)
      if (!reader) return fault(401, 'UNAUTHORIZED', 'unauthorized')
      const isRobot = reader.user.kind.endsWith('robot')
      const mayRead = isRobot ? reader.user.readsProjects === true : reader.user.kind === 'admin'
      if (!project && !options.isOld) return fault(404, 'NOT_FOUND', `project ${name} not found`)
      if (!project || !(mayRead || (!isRobot && (project.isPublic ?? mayPush(reader, name)))))
        return fault(403, 'FORBIDDEN', 'forbidden')
      return json(200, {
        project_id: 7,
        name,
        registry_id: project.isProxyCache ? 3 : 0,
        metadata: { public: String(project.isPublic ?? false) },
      })
    }
    if (path === '/projects' && request.method === 'POST') return create(request, reader)
    return fault(404, 'NOT_FOUND', 'path not found')
  }

  async function create(request: EmbeddedRequest, login: Login): Promise<Reply> {
    if (!login) return fault(401, 'UNAUTHORIZED', 'unauthorized')
    const { kind } = login.user
    if (kind === 'project robot') return fault(403, 'FORBIDDEN', 'Only system level robot can create project')
    if (options.adminOnly && kind === 'user')
      return fault(403, 'FORBIDDEN', 'Only system admin can create project')
    const body = JSON.parse(Buffer.concat((await request.readBody(10_000)) ?? []).toString()) as {
      project_name: string
      metadata: { public: string }
    }
    created.push(body)
    const { project_name: name } = body
    if (!NAME.test(name))
      return fault(400, 'BAD_REQUEST', 'project name is not in lower case or contains illegal characters')
    if (projects.has(name)) return fault(409, 'CONFLICT', `The project named ${name} already exists`)
    projects.set(name, { isPublic: body.metadata.public === 'true' })
    // Who creates a project is its administrator; a robot is nothing in it.
    if (kind === 'user' && login.user.projects !== 'all') login.user.projects.push(name)
    return { ...json(201, undefined), headers: { Location: '/api/v2.0/projects/8', 'Content-Length': '0' } }
  }

  async function registry(request: EmbeddedRequest): Promise<Reply | undefined> {
    const { route, method, headers } = request
    const bearer = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1]
    const hasToken = bearer !== undefined && tokens.has(bearer)
    // Basic credentials are taken there, too (src/server/middleware/security).
    const basic = basicOf(request)
    const login = hasToken ? tokens.get(bearer) : basic === 'wrong' ? undefined : basic
    const isKnown = hasToken || (basic !== undefined && basic !== 'wrong')
    const repository = 'repository' in route ? route.repository : undefined
    const challenge = (scope: string): Record<string, string> => ({
      'WWW-Authenticate': options.hidesChallenge
        ? `Bearer realm="${request.origin}/service/token",service="front"${scope}`
        : `Bearer realm="${request.origin}/service/token",service="harbor-registry"${scope}`,
    })
    if (repository === undefined) {
      return route.kind === 'base' && !isKnown
        ? fault(401, 'UNAUTHORIZED', 'unauthorized: unauthorized', challenge(''))
        : undefined
    }
    const [name = '', ...rest] = repository.split('/')
    if (rest.length === 0)
      return fault(400, 'BAD_REQUEST', `bad request: invalid repository name: ${repository}`)
    const isRead =
      (method === 'GET' || method === 'HEAD') && route.kind !== 'uploads' && route.kind !== 'upload'
    const action = isRead ? 'pull' : 'push'
    const asked = challenge(`,scope="repository:${repository}:${isRead ? 'pull' : 'pull,push'}"`)
    if (method === 'HEAD' && headers.authorization === undefined)
      return fault(401, 'UNAUTHORIZED', 'authorize header needed to send HEAD to repository', asked)
    const project = projects.get(name)
    if (!project) {
      const text = `project ${name} not found`
      return fault(401, 'UNAUTHORIZED', `${text}: ${text}`, { 'WWW-Authenticate': '' })
    }
    if (!mayPush(login, name) && !(isRead && project.isPublic)) {
      const text = `unauthorized to access repository: ${repository}, action: ${action}`
      return fault(
        401,
        'UNAUTHORIZED',
        `${text}: ${text}`,
        headers.authorization === undefined ? asked : { 'WWW-Authenticate': 'Basic realm="harbor"' },
      )
    }
    if (!isRead && project.isProxyCache)
      return fault(403, 'DENIED', `can not push artifact to a proxy project: ${name}`)
    if (
      route.kind === 'manifest' &&
      isRead &&
      project.wantsCosign &&
      isHeldBack(repository, route.reference)
    ) {
      return fault(412, 'PROJECTPOLICYVIOLATION', 'The image is not signed by cosign.')
    }
    if (route.kind === 'manifest' && method === 'PUT' && isImmutable(project, repository, route.reference)) {
      const text = `Failed to process request due to '${repository}:${route.reference}' configured as immutable.`
      return fault(412, 'PRECONDITION', text)
    }
    if (route.kind === 'upload' && method === 'PUT' && project.quota !== undefined) {
      const size = Number(headers['content-length'] ?? 0)
      const now = used.get(name) ?? 0
      if (now + size > project.quota) {
        await request.readBody(0)
        return fault(
          403,
          'DENIED',
          `adding ${size} B of storage resource, which when updated to current usage of ${now} B will exceed the configured upper limit of ${project.quota} B.`,
        )
      }
      used.set(name, now + size)
    }
    return undefined
  }

  /** Whether there is such a manifest, which is neither signed nor a signature. */
  function isHeldBack(repository: string, reference: string): boolean {
    const digest = store.manifest(repository, reference)?.digest
    if (digest === undefined) return false
    const isSigned = store.manifest(repository, `${digest.replace(':', '-')}.sig`) !== undefined
    const isSignature = (store.tags(repository) ?? []).some(
      (tag) => tag.endsWith('.sig') && store.manifest(repository, tag)?.digest === digest,
    )
    return !isSigned && !isSignature
  }

  const isImmutable = ({ immutable = [] }: HarborProject, repository: string, reference: string): boolean =>
    immutable === 'all'
      ? !reference.includes(':') && store.manifest(repository, reference) !== undefined
      : immutable.includes(reference)

  const server = await startRegistry({
    store,
    front: async (request) => {
      if (options.isReadOnly && !['GET', 'HEAD'].includes(request.method)) {
        const text = 'The system is in read only mode. Any modification is prohibited.'
        return fault(403, 'DENIED', text)
      }
      if (request.path === '/service/token') return token(request)
      if (request.path.startsWith('/api/v2.0/')) return api(request)
      return registry(request)
    },
  })
  return { ...server, projects, created }
}

function json(status: number, value: unknown, headers: Record<string, string> = {}): Reply {
  const body = Buffer.from(value === undefined ? '' : JSON.stringify(value))
  return {
    status,
    headers: {
      'Content-Type': 'application/json; charset=utf-8',
      'Content-Length': String(body.length),
      ...headers,
    },
    body,
  }
}

function fault(status: number, code: string, message: string, headers: Record<string, string> = {}): Reply {
  return json(status, { errors: [{ code, message }] }, headers)
}
