import { AirgapError } from '../../errors.ts'
import { isRegistryHost, isRepository } from '../../oci/reference.ts'
import type { Rule } from './rule.ts'

/**
 * Reads `FROM=TO`: read what is below FROM from below TO first. Each side is a registry host with an optional path
 * prefix.
 * @param origin where it was said, for people.
 * @throws AirgapError `USAGE`
 */
export function parseMirror(text: string, origin = '--mirror'): Rule {
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
    const { host, path } = split(side)
    if (host.includes('://') || side.includes('://')) fail(`${JSON.stringify(side)} holds a scheme`)
    if (!isRegistryHost(host)) fail(`${JSON.stringify(host)} is not a registry host`)
    if (side.includes('/') && !isRepository(path)) fail(`${JSON.stringify(path)} is not a repository path`)
  }
  const { host, path } = split(to)
  return {
    scope: { kind: 'path', ...split(from) },
    mirrors: [{ registry: host, path, text: to, pulls: true, resolves: true }],
    source: 'own',
    origin,
  }
}

function split(text: string): { host: string; path: string } {
  const slash = text.indexOf('/')
  return slash < 0 ? { host: text, path: '' } : { host: text.slice(0, slash), path: text.slice(slash + 1) }
}
