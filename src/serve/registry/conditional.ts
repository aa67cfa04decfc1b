import type { Digest } from '../../oci/digest.ts'
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

/** From `start` up to and without `end`, in bytes. */
export interface ByteRange {
  start: number
  end: number
}

/**
 * Reads a `Range` header (RFC 9110 § 14.2) against a content of `size` bytes.
 * @returns undefined where the whole is to be sent: no header, several ranges, another unit, or not a range;
 *   'unsatisfiable' where nothing of the content is in the range.
 */
export function parseRange(
  header: string | undefined,
  size: number,
): ByteRange | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d{0,16})-(\d{0,16})$/.exec(header ?? '')
  if (!match) return undefined
  const first = match[1] === '' ? undefined : Number(match[1])
  const last = match[2] === '' ? undefined : Number(match[2])
  if (first === undefined) {
    if (last === undefined) return undefined
    return last === 0 || size === 0 ? 'unsatisfiable' : { start: Math.max(0, size - last), end: size }
  }
  if (last !== undefined && last < first) return undefined
  if (first >= size) return 'unsatisfiable'
  return { start: first, end: last === undefined ? size : Math.min(size, last + 1) }
}
