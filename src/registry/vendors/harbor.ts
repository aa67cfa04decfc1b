import * as v from 'valibot'
import { isRepository } from '../../oci/reference.ts'
import { errorsIn } from '../faults/answer.ts'
import type { Answer, Call, Connection } from '../net/connection.ts'
import type { Context } from '../notices.ts'
import { discard, failure, readCapped } from '../net/http.ts'

/*
 * Harbor beside its registry: projects, by its API v2.0 (goharbor/harbor: api/v2.0/swagger.yaml, and what the code
 * answers: src/server/v2.0/handler/project.go, src/server/middleware/v2auth/auth.go, src/lib/http/error.go).
 */

/** The service for which Harbor's challenges ask tokens (src/core/service/token/creator.go). */
const SERVICE = 'harbor-registry'
const MAX_ANSWER = 1024 * 1024
const MAX_PROJECT_NAME = 255
// src/pkg/project/manager.go: stricter than the path part of a repository, which may hold `__` and `--`.
const PROJECT_NAME = /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/

export type ProjectVisibility = 'private' | 'public'

/** `unknown`: Harbor does not tell this account, which may be allowed to push there all the same. */
export type ProjectState = 'there' | 'missing' | 'proxy-cache' | 'unknown'

/** The project that a repository of a Harbor belongs to; undefined for a path of one part, which belongs to none. */
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
 * A registry as a Harbor, if it is one by its own challenge: Harbor asks for tokens for the service
 * `harbor-registry` before it lets anybody read or write. Asks nothing.
 *
 * @returns undefined for any other registry, and where nothing has been asked of it yet.
 */
export async function harborBehind(connection: Connection): Promise<Harbor | undefined> {
  const service = await connection.tokenService({
    registry: connection.registry,
    operation: 'reach the registry',
  })
  return service === SERVICE ? new Harbor(connection) : undefined
}

/**
 * As {@link harborBehind}, for a registry that has been asked for its base: where something in front of it has its own
 * challenge, the API tells what it is.
 * @throws AirgapError those of the registry.
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

/** A Harbor's projects. Spoken to with Basic credentials, those that the registry gets, at the registry's origin. */
export class Harbor {
  readonly registry: string
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
    this.registry = connection.registry
  }

  /**
   * Whether there is a project. Accounts that may not ask the API are told by the registry itself, which answers
   * differently for a project that there is not.
   * @param repository one in it, for asking the registry.
   * @throws AirgapError those of the registry.
   */
  async project(name: string, repository: string, signal?: AbortSignal): Promise<ProjectState> {
    const { registry } = this
    const context = { registry, operation: `look for the project ${name} on ${registry}` }
    const answer = await this.#send({
      ...plainCall(`/projects/${encodeURIComponent(name)}`, context, signal),
      repository: name,
      // Else a name of digits alone would be taken for a number.
      headers: { accept: 'application/json', 'x-is-resource-name': 'true' },
    })
    if (answer.status === 200) {
      const found = await readJson(answer, ProjectAnswer, context, signal)
      if (found?.name !== name) return 'unknown'
      return (found.registry_id ?? 0) > 0 ? 'proxy-cache' : 'there'
    }
    discard(answer)
    // Old releases answer 403 for what there is not, and all do to robot accounts without the permission to read.
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
   * @returns false where somebody else has created it in the meantime.
   * @throws AirgapError `DENIED` with what the account would need; those of the registry.
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
              'It takes a system administrator, or any user where Harbor lets everyone create projects (Configuration, System Settings, Project Creation), or a system robot account with the permission Project: Create; robot accounts of a project cannot. Or have the project created, and do not ask for it here.',
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

/** An answer's JSON of a shape; undefined where it is anything else. */
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
