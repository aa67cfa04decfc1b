import { AirgapError, type ErrorCode, type Answer } from '../errors.ts'
import { parseCosignTag } from '../oci/cosign.ts'
import { answerOf } from '../registry/faults/answer.ts'
import type { RegistryClient } from '../registry/client.ts'
import { projectOf, type Harbor } from '../registry/vendors/harbor.ts'
import { oneLine } from '../registry/faults/quote.ts'
import { inParallel } from '../content/parallel.ts'
import type { PathStyle } from './names.ts'
import { outsideProjects, projectsOf, proxyCache } from './projects.ts'
import type { Hint, Hints } from '../hints.ts'

/** A push in which the registry refused something. */
export interface RefusedPush {
  client: RegistryClient
  registry: string
  /** The repositories of the images in the target. */
  repositories: () => string[]
  path: PathStyle
  /** Projects that this push planned to create. */
  plannedProjects: readonly string[]
  concurrency?: number | undefined
  signal?: AbortSignal | undefined
}

/**
 * Explains a registry's refusal if the cause is known: a missing Harbor project, a quota, a name with too many parts.
 * Sends further requests only to a registry that has identified itself as Harbor.
 *
 * @returns an error to replace `error`, or `error` itself.
 */
export async function explainRefusal(error: AirgapError, push: RefusedPush): Promise<AirgapError> {
  const answer = answerOf(error)
  // Answers of the token service and the API about an account are clear already, and wrong credentials come first.
  if (!answer?.path.startsWith('/v2/')) return error
  // A read-only registry refuses every account.
  if (error.refusal?.kind === 'read-only') return error
  if (error.code === 'UNAUTHORIZED' && answer.auth === 'basic') return error
  try {
    // Harbor refuses names outside of all projects before it identifies itself.
    if (isBadName(answer) && push.repositories().some((repository) => projectOf(repository) === undefined))
      await push.client.ping(push.registry, `ask ${push.registry} what it is`, push.signal)
    const harbor = await push.client.harbor(push.registry, { isAsked: false })
    const explained = harbor && (await explainHarbor(harbor, error, answer, push))
    if (explained) return explained
  } catch {
    // Failing to find the cause must not hide the original error.
    return error
  }
  return explainName(error, answer, push)
}

async function explainHarbor(
  harbor: Harbor,
  error: AirgapError,
  answer: Answer,
  push: RefusedPush,
): Promise<AirgapError | undefined> {
  const { registry } = push
  const repositories = push.repositories()
  const said = oneLine(answer.errors.map(({ message }) => message).join('; '))
  const project = projectIn(answer) ?? onlyProject(repositories)
  const named = project === undefined ? `a project on ${registry}` : `the project ${project} on ${registry}`
  const because = (code: ErrorCode, message: string, hint: Hints): AirgapError =>
    new AirgapError(code, message, { hint, cause: error })

  if (error.refusal?.kind === 'room' && error.refusal.of === 'project') {
    return because(
      'REGISTRY',
      `${named} has no room left: Harbor says: ${said}`,
      'Raise its quota (Administration, Project Quotas), or delete what is not needed and run garbage collection. Then push again: what has arrived is not sent again.',
    )
  }
  if (/proxy project/i.test(said)) return proxyCache(registry, project === undefined ? [] : [project])
  if (answer.status === 412 && /immutable/i.test(said)) {
    if (isSignatureTag(answer)) {
      return because(
        'REGISTRY',
        `${named} does not allow adding a signature where there is one already: the tags of signatures are immutable`,
        [
          'A rule of the project applies to these tags, too (Policy, Tag Immutability). Exclude sha256-* from it, or sign in the format sigstore-bundle, which needs no tag.',
          { id: 'signature-format' },
        ],
      )
    }
    return because('REGISTRY', `${named} does not allow changing a tag: Harbor says: ${said}`, [
      'A rule of the project makes such tags immutable (Policy, Tag Immutability). Change the rule for this push, or leave the image out.',
      { id: 'exclude-image' },
    ])
  }
  if (answer.errors.some(({ code }) => code === 'PROJECTPOLICYVIOLATION')) {
    return because('REGISTRY', `${named} does not allow reading the image: Harbor says: ${said}`, [
      'The project allows pulling only images that are signed, or have no known vulnerabilities (Configuration of the project), so nobody can pull this one. Change the policy, use another project, or, if it lacks a signature, sign the image in the target.',
      { id: 'sign-images' },
    ])
  }
  if (![400, 401, 403, 404].includes(answer.status)) return undefined
  const outside = outsideProjects(registry, repositories)
  if (outside) return outside
  const missing = await missingProjects(harbor, repositories, push)
  if (missing.length > 0) return noProject(registry, missing)
  // The token service refuses wrong credentials, so an account that gets here lacks a permission.
  if (answer.status === 400 || answer.status === 404 || answer.auth === 'none' || answer.auth === 'anonymous')
    return undefined
  return because(
    'DENIED',
    `permission denied: the account may not push to ${named}${said === '' ? '' : `: Harbor says: ${said}`}`,
    project !== undefined && push.plannedProjects.includes(project)
      ? `The project exists now. A robot account has no permissions in a project that it created, unless it covers all projects, with the permissions Push and Pull Repository: give it these, or push with another account.`
      : 'Give the account a role in the project that may push (Developer or higher); a robot account needs the permissions Push and Pull Repository for it.',
  )
}

async function missingProjects(
  harbor: Harbor,
  repositories: readonly string[],
  push: RefusedPush,
): Promise<string[]> {
  const names = [...projectsOf(repositories)]
  const states = await inParallel(names, push, ([name, repository], signal) =>
    harbor.project(name, repository, signal),
  )
  return names.filter((_, i) => states[i] === 'missing').map(([name]) => name)
}

function noProject(registry: string, missing: readonly string[]): AirgapError {
  const [first = ''] = missing
  const one = missing.length === 1
  return new AirgapError(
    'NOT_FOUND',
    one
      ? `${registry} has no project ${first}`
      : `${registry} lacks ${missing.length} projects that the images need`,
    {
      problems: one ? [] : missing.map((entry) => ({ entry, message: 'there is no such project' })),
      hint: [
        `Create ${one ? 'it' : 'them'} in Harbor (Projects, New Project), or let this push do it, with an account that may.`,
        { id: 'create-projects' },
        ...(one ? [] : [`To put all images into one project, push to ${registry}/PROJECT.`]),
      ],
    },
  )
}

function isSignatureTag({ path }: Answer): boolean {
  return parseCosignTag(path.slice(path.lastIndexOf('/') + 1)) !== undefined
}

function repositoryIn({ path }: Answer): string | undefined {
  return /^\/v2\/(.+)\/(?:manifests|blobs|tags|referrers)\//.exec(path)?.[1]
}

function projectIn(answer: Answer): string | undefined {
  const repository = repositoryIn(answer)
  return repository === undefined ? undefined : projectOf(repository)
}

function onlyProject(repositories: readonly string[]): string | undefined {
  const [first, ...others] = projectsOf(repositories).keys()
  return others.length === 0 ? first : undefined
}

function isBadName({ status, errors }: Answer): boolean {
  return (
    status === 400 &&
    errors.some(({ code, message }) => code === 'NAME_INVALID' || /repository name/i.test(message))
  )
}

/** Adds hints for names that a registry refuses, or answers as if they did not exist. */
function explainName(error: AirgapError, answer: Answer, { path }: RefusedPush): AirgapError {
  const withHints = (...hints: (Hint | undefined)[]): AirgapError =>
    error.with({ hint: hints.filter((hint) => hint !== undefined), cause: error })
  const codes = new Set(answer.errors.map(({ code }) => code))
  const flat = path === 'flat' ? undefined : ({ id: 'flat-names' } as const)
  if (isBadName(answer)) {
    return withHints(
      'The registry does not accept this name: most likely it allows fewer path parts.',
      flat,
      {
        id: 'map-names',
      },
    )
  }
  const parts = repositoryIn(answer)?.split('/').length ?? 0
  const isDenied = error.code === 'DENIED' || error.code === 'NOT_FOUND'
  if (!isDenied || answer.status >= 405 || parts === 0) return error
  const created = codes.has('NAME_UNKNOWN')
    ? 'Some registries require every repository to be created before a push (Amazon ECR).'
    : undefined
  const depth =
    flat !== undefined && parts > 2
      ? 'Registries that allow only few path parts also answer like this (Docker Hub: two; GitLab: two below the project).'
      : undefined
  return created === undefined && depth === undefined
    ? error
    : withHints(...error.hints, created, depth, depth === undefined ? undefined : flat)
}
