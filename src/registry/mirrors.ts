import { AirgapError } from '../errors.ts'
import { isRegistryHost, isRepository, type Reference } from '../oci/reference.ts'
import type { RegistryClient } from './client.ts'
import { isDockerHub } from './hosts.ts'
import type { Repository } from './repository.ts'

/** Read what is below `from` from below `to` first. Both are `HOST` or `HOST/PATH-PREFIX`. */
export interface Mirror {
  from: string
  to: string
}

/**
 * Reads `FROM=TO`, each side a registry host with an optional path prefix.
 * @throws AirgapError `USAGE`
 */
export function parseMirror(text: string): Mirror {
  const parts = text.split('=')
  const [from, to] = parts
  const fail = (reason: string): never => {
    throw new AirgapError('USAGE', `${JSON.stringify(text)} is not a mirror: ${reason}`, {
      hint: 'Write FROM=TO, each a host with an optional path: docker.io=registry.internal:5000/hub',
    })
  }
  if (parts.length !== 2 || from === undefined || to === undefined)
    return fail('it is not of the form FROM=TO')
  for (const side of [from, to]) {
    const { host, prefix } = split(side)
    if (host.includes('://') || side.includes('://')) fail(`${JSON.stringify(side)} holds a scheme`)
    if (!isRegistryHost(host)) fail(`${JSON.stringify(host)} is not a registry host`)
    if (prefix !== undefined && !isRepository(prefix))
      fail(`${JSON.stringify(prefix)} is not a repository path`)
  }
  return { from, to }
}

/**
 * The repositories to read `reference` from: those of matching mirrors, in the order given, and the source.
 * @throws AirgapError `INVALID_REFERENCE` where a mirror's prefix makes the repository name too long.
 */
export function sourcesFor(
  client: RegistryClient,
  reference: Pick<Reference, 'registry' | 'repository'>,
  mirrors: readonly Mirror[],
): { source: Repository; mirrors: Repository[] } {
  const { registry, repository } = reference
  const found: Repository[] = []
  for (const mirror of mirrors) {
    const from = split(mirror.from)
    if (!sameRegistry(from.host, registry)) continue
    const rest = below(from.prefix, repository)
    if (rest === undefined) continue
    const to = split(mirror.to)
    const path = [to.prefix, rest].filter((part) => part !== undefined && part !== '').join('/')
    if (path !== '') found.push(client.repository(to.host, path))
  }
  return { source: client.repository(registry, repository), mirrors: found }
}

function split(text: string): { host: string; prefix: string | undefined } {
  const slash = text.indexOf('/')
  return slash < 0
    ? { host: text, prefix: undefined }
    : { host: text.slice(0, slash), prefix: text.slice(slash + 1) }
}

function sameRegistry(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase() || (isDockerHub(a) && isDockerHub(b))
}

/** What remains of `repository` below `prefix`, counted in whole path parts; undefined when it is not below. */
function below(prefix: string | undefined, repository: string): string | undefined {
  if (prefix === undefined) return repository
  if (repository === prefix) return ''
  return repository.startsWith(`${prefix}/`) ? repository.slice(prefix.length + 1) : undefined
}
