import * as v from 'valibot'
import { isRepository } from '../../oci/reference.ts'
import { errorsIn } from '../faults/answer.ts'
import type { Answer, Call, Connection } from '../net/connection.ts'
import type { Context } from '../notices.ts'
import { discard, failure, readCapped } from '../net/http.ts'

/*
 * Harbor's projects, by its API v2.0 (goharbor/harbor: api/v2.0/swagger.yaml, and how the code answers:
 * src/server/v2.0/handler/project.go, src/server/middleware/v2auth/auth.go, src/lib/http/error.go).
 */

/** The `service` in Harbor's challenges (src/core/service/token/creator.go). */
const SERVICE = 'harbor-registry'
const MAX_ANSWER = 1024 * 1024
const MAX_PROJECT_NAME = 255
// src/pkg/project/manager.go: stricter than the path part of a repository, which may hold `__` and `--`.
const PROJECT_NAME = /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/

export type ProjectVisibility = 'private' | 'public'

/** `unknown`: Harbor does not tell this account, which may still be allowed to push there. */
export type ProjectState = 'there' | 'missing' | 'proxy-cache' | 'unknown'

/** The project of a repository in Harbor; undefined for a path of one part, which has none. */
export function projectOf(repository: string): string | undefined {
  const slash = repository.indexOf('/')
  return slash < 0 ? undefined : repository.slice(0, slash)
}

/** Whether Harbor would create a project of that name. */
export function isProjectName(name: string): boolean {
  return name.length <= MAX_PROJECT_NAME && PROJECT_NAME.test(name)
}

const ProjectAnswer = v.object({ name: v.string(), registry_id: v.nullish(v.number()) })
const SystemInfo = v.object({ auth_mode: v.string() })

/**
 * The Harbor behind a connection, recognised by its challenge: Harbor asks for tokens for the service `harbor-registry`
 * before it allows any access. Sends no request of its own.
 *
 * @returns undefined for any other registry, and before its first challenge.
 */
export async function harborBehind(connection: Connection): Promise<Harbor | undefined> {
  const service = await connection.tokenService({
    registry: connection.registry,
    operation: 'reach the registry',
  })
  return service === SERVICE ? new Harbor(connection) : undefined
}

/**
 * Like {@link harborBehind}, for a registry whose base was already requested. If something in front of it has its own
 * challenge, the API shows whether it is a Harbor.
 * @throws AirgapError as the registry's requests.
 */
export async function findHarbor(connection: Connection, signal?: AbortSignal): Promise<Harbor | undefined> {
  const known = await harborBehind(connection)
  if (known) return known
  const { registry } = connection
  const context = { registry, operation: `find out whether ${registry} is a Harbor` }
  const call = { ...plainCall('/systeminfo', context, signal), way: 'anonymous' as const }
  return connection.retrying(context, signal, async () => {
    const answer = await connection.send(call)
    if (answer.status !== 200) {
      discard(answer)
      return undefined
    }
    return (await readJson(answer, SystemInfo, context, signal)) ? new Harbor(connection) : undefined
  })
}

/** The projects of a Harbor. Its API is at the registry's origin, and gets the registry's credentials as Basic. */
export class Harbor {
  readonly registry: string
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
    this.registry = connection.registry
  }

  /**
   * Whether a project exists. For accounts that may not use the API, the registry itself shows it: it answers
   * differently for a project that does not exist.
   * @param repository a repository in the project, for asking the registry.
   * @throws AirgapError as the registry's requests.
   */
  async project(name: string, repository: string, signal?: AbortSignal): Promise<ProjectState> {
    const { registry } = this
    const context = { registry, operation: `look for the project ${name} on ${registry}` }
    const answer = await this.#send({
      ...plainCall(`/projects/${encodeURIComponent(name)}`, context, signal),
      repository: name,
      // Otherwise a name of only digits would be taken for a project's number.
      headers: { accept: 'application/json', 'x-is-resource-name': 'true' },
    })
    if (answer.status === 200) {
      const found = await readJson(answer, ProjectAnswer, context, signal)
      if (found?.name !== name) return 'unknown'
      return (found.registry_id ?? 0) > 0 ? 'proxy-cache' : 'there'
    }
    discard(answer)
    // Old releases answer 403 for a project that does not exist, and all do for robot accounts without permission to
    // read.
    return answer.status === 404 ? 'missing' : this.#askRegistry(name, repository, context, signal)
  }

  async #askRegistry(
    name: string,
    repository: string,
    context: Context,
    signal: AbortSignal | undefined,
  ): Promise<ProjectState> {
    if (!isRepository(repository)) return 'unknown'
    const answer = await this.#connection.retrying(context, signal, () =>
      this.#connection.send({
        method: 'GET',
        target: `/v2/${repository}/tags/list`,
        repository,
        scopes: [`repository:${repository}:pull`],
        context,
        signal,
      }),
    )
    if (![401, 403, 404].includes(answer.status)) return (discard(answer), 'unknown')
    const body = await readCapped(answer, MAX_ANSWER, context, signal)
    const isMissing = errorsIn(body ?? Buffer.alloc(0)).some(({ message }) =>
      message.includes(`project ${name} not found`),
    )
    return isMissing ? 'missing' : 'unknown'
  }

  /**
   * Creates a project, with the storage quota that Harbor gives new ones.
   * @returns false if somebody else has created it meanwhile.
   * @throws AirgapError `DENIED` with what the account would need; as the registry's requests.
   */
  async create(name: string, visibility: ProjectVisibility, signal?: AbortSignal): Promise<boolean> {
    const { registry } = this
    const context = { registry, operation: `create the project ${name} on ${registry}` }
    const body = Buffer.from(
      JSON.stringify({ project_name: name, metadata: { public: String(visibility === 'public') } }),
    )
    const answer = await this.#send({
      ...plainCall('/projects', context, signal),
      method: 'POST',
      repository: name,
      headers: { accept: 'application/json', 'content-type': 'application/json' },
      body: () => body,
    })
    if (answer.status === 201 || answer.status === 409) {
      discard(answer)
      return answer.status === 201
    }
    const error = await failure(answer, answer.auth, context)
    if ((answer.status !== 401 && answer.status !== 403) || error.refusal?.kind === 'read-only') throw error
    throw error.with({
      hint:
        answer.auth.kind === 'none'
          ? ['This needs an account that may create projects.', { id: 'log-in', registry }]
          : [
              'This needs a system administrator, or any user if Harbor lets everyone create projects (Configuration, System Settings, Project Creation), or a system robot account with the permission Project: Create; robot accounts of a project cannot. Or have the project created, and do not ask for it here.',
            ],
      cause: error,
    })
  }

  #send(call: Call): Promise<Answer> {
    const { context, signal } = call
    return this.#connection.retrying(context, signal, async () => {
      const answer = await this.#connection.send({ ...call, way: 'basic' })
      if (answer.status === 429 || answer.status >= 500) throw await failure(answer, answer.auth, context)
      return answer
    })
  }
}

function plainCall(path: string, context: Context, signal: AbortSignal | undefined): Call {
  return {
    method: 'GET',
    target: `/api/v2.0${path}`,
    repository: '',
    scopes: [],
    headers: { accept: 'application/json' },
    context,
    signal,
  }
}

/** An answer's JSON, if it has the given schema; undefined otherwise. */
async function readJson<S extends v.GenericSchema>(
  answer: Answer,
  schema: S,
  context: Context,
  signal: AbortSignal | undefined,
): Promise<v.InferOutput<S> | undefined> {
  const bytes = await readCapped(answer, MAX_ANSWER, context, signal)
  if (bytes === undefined) return (discard(answer), undefined)
  try {
    return v.parse(schema, JSON.parse(bytes.toString('utf8')))
  } catch {
    // A web page, or another product's answer at the same path.
    return undefined
  }
}
