import { AirgapError } from '../errors.ts'
import { hexOf, type Digest } from '../oci/digest.ts'
import { compareBytes } from '../oci/json.ts'
import { CHECKSUMS, digestOfBlobName, FIXED_NAMES, MAX_CHECKSUMS } from './names.ts'

/** `SHA256SUMS`: every entry's name with its digest, sorted by name. */
export type Checksums = Map<string, Digest>

/** The file that `sha256sum -c` reads: one line for each entry, sorted by the bytes of the names. */
export function formatChecksums(entries: Iterable<readonly [name: string, digest: Digest]>): Buffer {
  const lines = [...entries]
    .toSorted(([a], [b]) => compareBytes(a, b))
    .map(([name, digest]) => `${hexOf(digest)}  ${name}\n`)
  return Buffer.from(lines.join(''))
}

const LINE = /^([0-9a-f]{64}) {2}([A-Za-z0-9./-]+)$/

/**
 * Parses `SHA256SUMS` by a strict grammar: sorted, without duplicates, only names that a bundle can have, and for a blob
 * the digest in its name.
 * @throws AirgapError `INVALID_CONTENT`, with the line number.
 */
export function parseChecksums(bytes: Uint8Array): Checksums {
  const fail = (line: number, reason: string): never => {
    throw new AirgapError('INVALID_CONTENT', `${CHECKSUMS}, line ${line}: ${reason}`)
  }
  if (bytes.length > MAX_CHECKSUMS) fail(1, `the list is larger than ${MAX_CHECKSUMS} bytes`)
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  if (!text.endsWith('\n')) fail(1, text === '' ? 'the list is empty' : 'the last line has no end')
  const checksums: Checksums = new Map()
  let previous = ''
  let number = 0
  // Line by line, because splitting 64 MiB of line ends would give 64 million strings.
  for (let start = 0, end = 0; start < text.length; start = end + 1) {
    number += 1
    end = text.indexOf('\n', start)
    const match = LINE.exec(text.slice(start, end))
    const hex = match?.[1]
    const name = match?.[2]
    if (hex === undefined || name === undefined)
      return fail(number, 'it is not 64 digits, two spaces and a name')
    const blob = digestOfBlobName(name)
    if (blob === undefined && !FIXED_NAMES.includes(name)) fail(number, `${name} is not an entry of a bundle`)
    if (blob !== undefined && hexOf(blob) !== hex)
      fail(number, `${name} is listed with another digest than in its name`)
    // All accepted names are ASCII, so comparing code units compares bytes.
    if (previous >= name)
      fail(number, previous === name ? `${name} is listed twice` : `${name} is out of order`)
    previous = name
    checksums.set(name, `sha256:${hex}`)
  }
  return checksums
}
