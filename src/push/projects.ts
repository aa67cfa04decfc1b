import { AirgapError, type Problem } from '../errors.ts'
import type { RegistryClient } from '../registry/client.ts'
import {
  isProjectName,
  projectOf,
  type ProjectState,
  type ProjectVisibility,
} from '../registry/vendors/harbor.ts'
import { inParallel } from '../content/parallel.ts'

/** A Harbor project that has to be created before anything can be pushed into it. */
export interface PlannedProject {
  name: string
  visibility: ProjectVisibility
}

export interface ProjectOptions {
  client: RegistryClient
  registry: string
  concurrency?: number | undefined
  signal?: AbortSignal | undefined
}

/** The projects of repositories, each with one of its repositories. */
export function projectsOf(repositories: Iterable<string>): Map<string, string> {
  const projects = new Map<string, string>()
  for (const repository of repositories) {
    const project = projectOf(repository)
    if (project !== undefined && !projects.has(project)) projects.set(project, repository)
  }
  return projects
}

/**
 * Finds out which projects are missing in Harbor. Creates nothing.
 *
 * @param repositories paths in the target.
 * @throws AirgapError `USAGE` if the registry is not Harbor; `INVALID_TARGET_NAME`, which lists every repository outside of
 *   a project, every invalid project name, or every project that accepts no pushes; the registry's errors.
 */
export async function planProjects(
  repositories: readonly string[],
  visibility: ProjectVisibility,
  options: ProjectOptions,
): Promise<PlannedProject[]> {
  const { client, registry, signal } = options
  const harbor = await client.harbor(registry, { isAsked: true, signal })
  if (!harbor) {
    throw new AirgapError('USAGE', `projects cannot be created: ${registry} is not Harbor`, {
      hint: 'Only Harbor needs projects before a push. Push without creating projects.',
    })
  }
  const outside = outsideProjects(registry, repositories)
  if (outside) throw outside
  const names = [...projectsOf(repositories)]
  const invalid = names.filter(([name]) => !isProjectName(name))
  if (invalid.length > 0) {
    throw new AirgapError('INVALID_TARGET_NAME', 'Harbor does not allow projects with these names', {
      problems: invalid.map(([name, repository]) => ({
        entry: name,
        message: `of ${repository}: a name has to be lower-case letters and digits, joined by single ".", "_" or "-"`,
      })),
      hint: [
        `Put a project of your own in front (${registry}/PROJECT), or choose names.`,
        { id: 'map-names' },
      ],
    })
  }
  const states = await inParallel(names, options, ([name, repository], either) =>
    harbor.project(name, repository, either),
  )
  const inState = (state: ProjectState): string[] =>
    names.filter((_, i) => states[i] === state).map(([name]) => name)
  const caches = inState('proxy-cache')
  if (caches.length > 0) throw proxyCache(registry, caches)
  return inState('missing').map((name) => ({ name, visibility }))
}

/** The error for repositories with only one path part, which Harbor does not allow; undefined if there are none. */
export function outsideProjects(registry: string, repositories: readonly string[]): AirgapError | undefined {
  const problems: Problem[] = [...new Set(repositories)]
    .filter((repository) => projectOf(repository) === undefined)
    .map((repository) => ({
      entry: `${registry}/${repository}`,
      message: 'would be outside of all projects',
    }))
  if (problems.length === 0) return undefined
  return new AirgapError(
    'INVALID_TARGET_NAME',
    `${registry} is Harbor, where every image is in a project: names have at least two parts`,
    { problems, hint: `Name a project: push to ${registry}/PROJECT.` },
  )
}

export function proxyCache(registry: string, projects: readonly string[]): AirgapError {
  const [first = ''] = projects
  return new AirgapError(
    'INVALID_TARGET_NAME',
    projects.length === 1
      ? `the project ${first} on ${registry} is a proxy cache, which accepts no pushes`
      : `${projects.length} of the projects on ${registry} are proxy caches, which accept no pushes`,
    {
      problems:
        projects.length === 1 ? [] : projects.map((entry) => ({ entry, message: 'is a proxy cache' })),
      hint: `Harbor fills it from another registry. Push to another project: ${registry}/PROJECT.`,
    },
  )
}

/**
 * Creates the planned projects.
 * @returns those that this call created; others were created by somebody else in the meantime.
 * @throws AirgapError `DENIED`, and the registry's errors.
 */
export async function createProjects(
  planned: readonly PlannedProject[],
  { client, registry, signal }: ProjectOptions,
): Promise<PlannedProject[]> {
  if (planned.length === 0) return []
  const harbor = await client.harbor(registry, { isAsked: true, signal })
  if (!harbor) throw new AirgapError('INTERNAL', `${registry} was Harbor when the push was planned`)
  const created: PlannedProject[] = []
  for (const project of planned) {
    if (await harbor.create(project.name, project.visibility, signal)) created.push(project)
  }
  return created
}
