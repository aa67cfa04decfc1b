import { AirgapError } from '../errors.ts'
import { parseDescription, type BundleDescription } from './description.ts'
import {
  CHECKSUMS,
  DESCRIPTION,
  digestOfBlobName,
  MAX_JSON_ENTRY,
  MAX_RAW_SIGNATURE,
  MAX_SIGSTORE_SIGNATURE,
} from './names.ts'
import { next, type BundleEntry, type BundleReader } from './reader.ts'
import { BLOCK } from './tar.ts'

/** More entries than any bundle can have: its checksums would exceed their size limit. */
const MAX_ENTRIES = 500_000
/** Signatures are written last. Until then there is a gap in their place, of at most so many bytes. */
const LARGEST_HOLE = MAX_SIGSTORE_SIGNATURE + MAX_RAW_SIGNATURE + 8 * BLOCK

/**
 * Finds the blobs of a bundle, finished or not. Nothing in it is trusted: the caller has to hash the content of each
 * entry.
 *
 * @returns the blob entries that lie within the file, up to the first header that cannot be read.
 * @throws AirgapError `INVALID_CONTENT` if the file does not begin like a bundle, `FILE`; the signal's reason if aborted.
 */
export async function findBlobs(reader: BundleReader, signal?: AbortSignal): Promise<BundleEntry[]> {
  const blobs: BundleEntry[] = []
  for await (const entry of entriesOf(reader, signal)) {
    if (digestOfBlobName(entry.name) !== undefined) blobs.push(entry)
  }
  return blobs
}

/**
 * The description in a bundle, finished or not. It is not verified: use it for suggestions, not for checks.
 *
 * @returns undefined if it has no readable `airgap.json`.
 * @throws AirgapError `FILE`; the signal's reason if aborted.
 */
export async function findDescription(
  reader: BundleReader,
  signal?: AbortSignal,
): Promise<BundleDescription | undefined> {
  try {
    for await (const entry of entriesOf(reader, signal)) {
      if (entry.name === DESCRIPTION) return parseDescription(await reader.read(entry, MAX_JSON_ENTRY))
      if (digestOfBlobName(entry.name) !== undefined) return undefined
    }
    return undefined
  } catch (error) {
    if (error instanceof AirgapError && error.code !== 'FILE') return undefined
    throw error
  }
}

/** The entries that lie within the file, up to the first header that cannot be read. */
async function* entriesOf(
  reader: BundleReader,
  signal: AbortSignal | undefined,
): AsyncGenerator<BundleEntry, void, undefined> {
  const first = await reader.entryAt(0)
  if (first?.name !== CHECKSUMS) {
    throw new AirgapError('INVALID_CONTENT', `${reader.path} does not begin like a bundle`)
  }
  const holeEnd = next(first) + LARGEST_HOLE
  let offset = next(first)
  let hasBlobs = false
  for (let count = 0; count < MAX_ENTRIES && offset + BLOCK <= reader.fileSize;) {
    signal?.throwIfAborted()
    const entry = await headerOrNothing(reader, offset)
    if (entry === undefined) {
      if (hasBlobs || offset >= holeEnd) break
      offset += BLOCK
      continue
    }
    count += 1
    if (entry.contentOffset + entry.size > reader.fileSize) break
    hasBlobs ||= digestOfBlobName(entry.name) !== undefined
    yield entry
    offset = next(entry)
  }
}

async function headerOrNothing(reader: BundleReader, offset: number): Promise<BundleEntry | undefined> {
  try {
    return await reader.entryAt(offset)
  } catch (error) {
    if (error instanceof AirgapError && error.code === 'INVALID_CONTENT') return undefined
    throw error
  }
}
