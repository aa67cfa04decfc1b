import { AirgapError } from '../../errors.ts'
import { isRegistryHost, isRepository, type Reference } from '../../oci/reference.ts'
import { isDockerHub } from '../net/hosts.ts'

/** How a file says to reach a host. */
export interface HostAccess {
  /** `either` is TLS with any certificate if the host speaks TLS, and otherwise plain HTTP. */
  scheme?: 'http' | 'https' | 'either' | undefined
  /** TLS, whatever the certificate. */
  skipVerify?: boolean | undefined
  /** PEM files of CAs to trust for this host besides the usual ones. */
  ca?: readonly string[] | undefined
  /** PEM files of a client certificate and its key. */
  client?: { cert: string; key: string } | undefined
}

/** Where the images of a rule can be read, besides or instead of the registry in their names. */
export interface Place {
  /** `HOST[:PORT]` to contact. */
  registry: string
  /** The path below which the rule's images are there; empty for none. */
  path: string
  /** The place as it was configured, for messages. */
  text: string
  /** Serves manifests and blobs by digest. */
  pulls: boolean
  /** May turn a tag into a digest, where mirrors may do so at all. */
  resolves: boolean
  /** Only for images that are named by a tag. */
  tagOnly?: boolean | undefined
  /** The root of the registry's API where that is not `/v2`, without a slash at the end. */
  apiRoot?: string | undefined
  /** Whether it gets the upstream registry as `?ns=`. */
  wantsNamespace?: boolean | undefined
  access?: HostAccess | undefined
}

/** What is configured for some images. */
export interface Rule {
  scope: Scope
  /** In the order to try. */
  mirrors: readonly Place[]
  /**
   * Where the registry itself is read: at its own place, at another place (which is then the last mirror), or nowhere.
   */
  source: 'own' | 'nowhere' | Place
  /** How the registry itself is reached. */
  ownAccess?: HostAccess | undefined
  /** Images in this scope must not be read at all. */
  isBlocked?: boolean | undefined
  /** Where this is configured, for messages: a flag or a file. */
  origin: string
}

/** Rules that belong together: of one or more flags, of one file, or of one folder. */
export interface RuleSet {
  /** Which of several rules for one image count: all, more specific ones first, or only the most specific one. */
  counts: 'all' | 'most specific'
  rules: readonly Rule[]
}

/**
 * Reads `FROM=TO`: what is below FROM is first read from below TO. Each side is a registry host with an optional path
 * prefix.
 * @param origin where it was configured, for messages.
 * @throws AirgapError `USAGE`
 */
export function parseMirror(text: string, origin = 'the mirror'): Rule {
  const parts = text.split('=')
  const [from, to] = parts
  const fail = (reason: string): never => {
    throw new AirgapError('USAGE', `${JSON.stringify(text)} is not a mirror: ${reason}`, {
      hint: 'Write FROM=TO, each a host with an optional path: docker.io=registry.internal:5000/hub',
    })
  }
  if (parts.length !== 2 || from === undefined || to === undefined)
    return fail('it does not have the form FROM=TO')
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

/** The images that a rule is for. */
export type Scope =
  /** Those of one registry, below a path of whole parts; all of them if the path is empty. */
  | { kind: 'path'; host: string; path: string }
  /** Those of every registry whose host name ends with `domain`, which begins with a dot. */
  | { kind: 'subdomains'; domain: string }
  /** One reference with its tag or digest. */
  | { kind: 'reference'; text: string; host: string; path: string; suffix: string }
  | { kind: 'all' }

type Named = Pick<Reference, 'registry' | 'repository' | 'tag' | 'digest'>

/** The rest of an image's repository below a scope, in whole path parts; undefined if the image is not in the scope. */
export function below(scope: Scope, image: Named): string | undefined {
  switch (scope.kind) {
    case 'all':
      return image.repository
    case 'subdomains':
      return image.registry.toLowerCase().endsWith(scope.domain) ? image.repository : undefined
    case 'path':
      return sameRegistry(scope.host, image.registry) ? restOf(scope.path, image.repository) : undefined
    case 'reference':
      return sameRegistry(scope.host, image.registry) &&
        scope.path === image.repository &&
        suffixesOf(image).includes(scope.suffix)
        ? ''
        : undefined
  }
}

/** A number that is higher for a more specific scope. */
export function specificity(scope: Scope): number {
  switch (scope.kind) {
    case 'all':
      return 0
    case 'subdomains':
      // Less than for any host that matches.
      return scope.domain.length
    case 'path':
      return textOf(scope).length
    case 'reference':
      return scope.text.length
  }
}

/** A scope as people write it. */
export function textOf(scope: Scope): string {
  switch (scope.kind) {
    case 'all':
      return 'all registries'
    case 'subdomains':
      return `*${scope.domain}`
    case 'path':
      return scope.path === '' ? scope.host : `${scope.host}/${scope.path}`
    case 'reference':
      return scope.text
  }
}

/** Whether two names mean the same registry: Docker Hub has several. */
export function sameRegistry(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase() || (isDockerHub(a) && isDockerHub(b))
}

function restOf(prefix: string, repository: string): string | undefined {
  if (prefix === '') return repository
  if (repository === prefix) return ''
  return repository.startsWith(`${prefix}/`) ? repository.slice(prefix.length + 1) : undefined
}

/** `:tag`, `@digest`, and both together, if the image has them. */
function suffixesOf({ tag, digest }: Named): string[] {
  const tagged = tag === undefined ? [] : [`:${tag}`]
  return digest === undefined ? tagged : [...tagged, `@${digest}`, `${tagged.join('')}@${digest}`]
}
