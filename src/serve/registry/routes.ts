import { digestFault, isDigest, type Digest } from '../../oci/digest.ts'
import { isRepository, isTag } from '../../oci/reference.ts'

/** What a request's path names (OCI distribution-spec v1.1 § Endpoints). */
export type Route =
  | { kind: 'base' }
  | { kind: 'catalog' }
  | { kind: 'tags'; repository: string }
  | { kind: 'manifest'; repository: string; reference: string }
  | { kind: 'blob'; repository: string; digest: Digest }
  | { kind: 'uploads'; repository: string }
  | { kind: 'upload'; repository: string; id: string }
  | { kind: 'referrers'; repository: string; digest: Digest }
  | { kind: 'invalid'; code: 'NAME_INVALID' | 'DIGEST_INVALID' | 'TAG_INVALID'; message: string }
  | { kind: 'unknown' }

const UPLOAD_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * Reads a raw request path, as it stood in the request line without its query. Nothing is decoded or
 * normalised, so `..`, `%2e`, `//` and the like never reach a store: they are no repository, tag or digest.
 *
 * Repository names may themselves hold `manifests`, `blobs` or `tags` as parts, so the path is read from its end.
 */
export function parseRoute(path: string): Route {
  if (path === '/v2/') return { kind: 'base' }
  if (path === '/v2/_catalog') return { kind: 'catalog' }
  if (!path.startsWith('/v2/')) return { kind: 'unknown' }
  const parts = path.slice('/v2/'.length).split('/')
  const last = parts.at(-1) ?? ''
  const verb = parts.at(-2)
  const before = (count: number): string => parts.slice(0, -count).join('/')

  if (verb === 'uploads' && parts.at(-3) === 'blobs') {
    const repository = before(3)
    if (last === '') return named(repository, { kind: 'uploads', repository })
    return UPLOAD_ID.test(last)
      ? named(repository, { kind: 'upload', repository, id: last })
      : { kind: 'unknown' }
  }
  const repository = before(2)
  switch (verb) {
    case 'tags':
      return last === 'list' ? named(repository, { kind: 'tags', repository }) : { kind: 'unknown' }
    case 'manifests':
      if (last.includes(':') ? isDigest(last) : isTag(last)) {
        return named(repository, { kind: 'manifest', repository, reference: last })
      }
      return last.includes(':')
        ? notADigest(last)
        : { kind: 'invalid', code: 'TAG_INVALID', message: 'not a tag' }
    case 'blobs':
    case 'referrers':
      if (!isDigest(last)) return notADigest(last)
      return named(repository, { kind: verb === 'blobs' ? 'blob' : 'referrers', repository, digest: last })
    default:
      return { kind: 'unknown' }
  }
}

function named(repository: string, route: Route): Route {
  if (isRepository(repository)) return route
  return { kind: 'invalid', code: 'NAME_INVALID', message: 'not a repository name' }
}

function notADigest(text: string): Route {
  return { kind: 'invalid', code: 'DIGEST_INVALID', message: digestFault(text) }
}
