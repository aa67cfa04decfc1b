import type { Reference } from '../../oci/reference.ts'
import { isDockerHub } from '../net/hosts.ts'

/** The images that a rule is about. */
export type Scope =
  /** Those of one registry, below a path of whole parts; all of them where the path is empty. */
  | { kind: 'path'; host: string; path: string }
  /** Those of every registry whose host name ends with `domain`, which begins with a dot. */
  | { kind: 'subdomains'; domain: string }
  /** One reference with its tag or digest. */
  | { kind: 'reference'; text: string; host: string; path: string; suffix: string }
  | { kind: 'all' }

type Named = Pick<Reference, 'registry' | 'repository' | 'tag' | 'digest'>

/** What remains of an image's repository below a scope, counted in whole path parts; undefined when it is not in it. */
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

/** How much a scope says; of two that an image is in, the one that says more is the more specific one. */
export function specificity(scope: Scope): number {
  switch (scope.kind) {
    case 'all':
      return 0
    case 'subdomains':
      // Less than any host that it stands for.
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

/** Whether two names are of one registry: Docker Hub has several. */
export function sameRegistry(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase() || (isDockerHub(a) && isDockerHub(b))
}

function restOf(prefix: string, repository: string): string | undefined {
  if (prefix === '') return repository
  if (repository === prefix) return ''
  return repository.startsWith(`${prefix}/`) ? repository.slice(prefix.length + 1) : undefined
}

/** `:tag`, `@digest`, and both together, as far as an image has them. */
function suffixesOf({ tag, digest }: Named): string[] {
  const tagged = tag === undefined ? [] : [`:${tag}`]
  return digest === undefined ? tagged : [...tagged, `@${digest}`, `${tagged.join('')}@${digest}`]
}
