import type { Digest } from '../oci/digest.ts'
import type { Reply } from './reply.ts'
import type { RegistryRequest } from './request.ts'

/** Content is its digest, so that is a strong entity tag (RFC 9110 § 8.8.3). */
export function etagOf(digest: Digest): string {
  return `"${digest}"`
}

/** RFC 9110 § 13.1.2: 304 where `If-None-Match` names this content or `*`. */
export function notModified(request: RegistryRequest, digest: Digest): Reply | undefined {
  const header = request.headers['if-none-match']
  if (header === undefined) return undefined
  const etag = etagOf(digest)
  const names = new Set(header.split(',').map((item) => item.trim().replace(/^W\//, '')))
  if (!names.has(etag) && !names.has('*')) return undefined
  return { status: 304, headers: { ETag: etag, 'Docker-Content-Digest': digest } }
}

/** RFC 9110 § 13.1.5: with `If-Range`, a range holds only for the content that it names. */
export function isRangeCurrent(request: RegistryRequest, digest: Digest): boolean {
  const header = request.headers['if-range']
  return header === undefined || header === etagOf(digest)
}
