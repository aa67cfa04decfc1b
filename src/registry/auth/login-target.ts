import { AirgapError } from '../../errors.ts'
import { isRegistryHost, isRepository } from '../../oci/reference.ts'
import { DOCKER_HUB_KEY } from './auth-file.ts'
import { isDockerHub } from '../net/hosts.ts'
import type { Hint } from '../../hints.ts'

/** What credentials are for. */
export interface LoginTarget {
  /** `HOST` or `HOST:PORT`, in lower case; `docker.io` for Docker Hub by any of its names. */
  registry: string
  /** The path below which the credentials count, as in Podman; empty for the whole registry. */
  path: string
  /** The key in a credentials file. */
  key: string
  /** `registry` and `path` as people write them. */
  name: string
}

/**
 * Reads the registry of a login: `HOST[:PORT]`, also as `https://HOST/`, or `HOST/PATH` for credentials that only count
 * for a part of the registry.
 * @throws AirgapError `INVALID_REFERENCE`, without quoting anything that could be a password.
 */
export function parseLoginTarget(text: string): LoginTarget {
  const fail = (reason: string, hint?: Hint): never => {
    throw new AirgapError('INVALID_REFERENCE', reason, {
      hint: hint ?? 'Name the host, and the port where it is not 443: registry.internal:5000.',
    })
  }
  if (text.includes('@')) {
    return fail('the registry contains an "@"', { id: 'login-names' })
  }
  const quoted = JSON.stringify(text)
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase()
  const bare = (scheme === undefined ? text : text.slice(scheme.length + 3)).replace(/\/+$/, '')
  const slash = bare.indexOf('/')
  const host = (slash < 0 ? bare : bare.slice(0, slash)).toLowerCase()
  const rest = slash < 0 ? '' : bare.slice(slash + 1)
  if (!isRegistryHost(host)) return fail(`${quoted} is not a registry host`)
  // The path of the API in Docker's files; it is not part of a name.
  const path = /^v[12]$/.test(rest) ? '' : rest
  if (scheme === 'http') {
    return fail(`${quoted}: http:// does not make the connection unencrypted`, { id: 'plain-http', host })
  }
  if (scheme !== undefined && (scheme !== 'https' || path !== '')) {
    return fail(`${quoted} is a URL, not a registry`, `Name the host alone: ${host}`)
  }
  if (path !== '' && !(isRepository(path) && /[.:]|^localhost$/.test(host))) {
    return fail(`${quoted} is not a registry, with or without a path`)
  }
  const registry = isDockerHub(host) ? 'docker.io' : host
  if (path !== '') return { registry, path, key: `${registry}/${path}`, name: `${registry}/${path}` }
  return { registry, path, key: registry === 'docker.io' ? DOCKER_HUB_KEY : registry, name: registry }
}
