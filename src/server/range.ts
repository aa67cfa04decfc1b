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

/**
 * Reads the `Content-Range` of an upload's chunk, which is `FIRST-LAST` with no unit (distribution-spec
 * § Pushing a blob in chunks).
 * @returns undefined where it is something else.
 */
export function parseChunkRange(header: string): ByteRange | undefined {
  const match = /^(\d{1,15})-(\d{1,15})$/.exec(header)
  if (!match) return undefined
  const start = Number(match[1])
  const end = Number(match[2]) + 1
  return end > start ? { start, end } : undefined
}
