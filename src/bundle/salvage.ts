import { AirgapError } from '../errors.ts'
import { CHECKSUMS, digestOfBlobName, MAX_RAW_SIGNATURE, MAX_SIGSTORE_SIGNATURE } from './names.ts'
import { next, type BundleEntry, type BundleReader } from './reader.ts'
import { BLOCK } from './tar.ts'

/** No bundle has more: its list of digests would be beyond its cap. */
const MAX_ENTRIES = 500_000
/** The signature entries are written last; until then there is a hole of at most so many bytes in their place. */
const LARGEST_HOLE = MAX_SIGSTORE_SIGNATURE + MAX_RAW_SIGNATURE + 8 * BLOCK

/**
 * Finds the blobs of a bundle, finished or not, without believing anything that it says: what an entry holds is what
 * its digest says only when somebody has hashed it.
 *
 * @returns the blob entries whose place is within the file, up to the first header that cannot be read.
 * @throws AirgapError `INVALID_CONTENT` when the file does not begin as a bundle, `FILE`; the signal's reason
 */
export async function findBlobs(reader: BundleReader, signal?: AbortSignal): Promise<BundleEntry[]> {
  const blobs: BundleEntry[] = []
  const first = await reader.entryAt(0)
  if (first?.name !== CHECKSUMS) {
    throw new AirgapError('INVALID_CONTENT', `${reader.path} does not begin as a bundle does`)
  }
  const holeEnd = next(first) + LARGEST_HOLE
  let offset = next(first)
  for (let count = 0; count < MAX_ENTRIES && offset + BLOCK <= reader.fileSize;) {
    signal?.throwIfAborted()
    const entry = await headerOrNothing(reader, offset)
    if (entry === undefined) {
      if (blobs.length > 0 || offset >= holeEnd) break
      offset += BLOCK
      continue
    }
    count += 1
    if (entry.contentOffset + entry.size > reader.fileSize) break
    if (digestOfBlobName(entry.name) !== undefined) blobs.push(entry)
    offset = next(entry)
  }
  return blobs
}

async function headerOrNothing(reader: BundleReader, offset: number): Promise<BundleEntry | undefined> {
  try {
    return await reader.entryAt(offset)
  } catch (error) {
    if (error instanceof AirgapError && error.code === 'INVALID_CONTENT') return undefined
    throw error
  }
}
