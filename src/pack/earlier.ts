import { digestOfBlobName } from '../bundle/names.ts'
import { BundleReader } from '../bundle/reader.ts'
import { findBlobs } from '../bundle/salvage.ts'
import { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { FindBeginning } from './resume.ts'
import type { ReusableFile } from './reuse.ts'
import type { Unfinished } from './unfinished.ts'

/** What unfinished files offer. */
export interface Offer {
  /** Blobs that are whole. */
  files: ReusableFile[]
  findBeginning: FindBeginning
}

/**
 * Looks at what unfinished files of ours have. One that was killed before it had its first headers has nothing.
 * @throws AirgapError `FILE`; the signal's reason.
 */
export async function offerOf(unfinished: readonly Unfinished[], signal?: AbortSignal): Promise<Offer> {
  const files: ReusableFile[] = []
  const places: { from: Unfinished; offsets: Map<Digest, number> }[] = []
  for (const from of unfinished) {
    const offsets = await offsetsIn(from.file.partial, signal)
    if (offsets.size === 0) continue
    const isWhole = (digest: Digest, size: number): boolean => (from.bytesOf(digest) ?? size) >= size
    files.push({ path: from.file.partial, isWhole })
    places.push({ from, offsets })
  }
  return {
    files,
    findBeginning: (digest) => {
      const found = places.flatMap(({ from, offsets }) => {
        const [position, offset] = [from.bytesOf(digest) ?? 0, offsets.get(digest)]
        return offset === undefined ? [] : [{ position, offset, file: from.file }]
      })
      return found.toSorted((a, b) => b.position - a.position)[0]
    },
  }
}

/** Where each blob begins. */
async function offsetsIn(path: string, signal?: AbortSignal): Promise<Map<Digest, number>> {
  await using reader = await BundleReader.open(path)
  const offsets = new Map<Digest, number>()
  try {
    for (const { name, contentOffset } of await findBlobs(reader, signal)) {
      const digest = digestOfBlobName(name)
      if (digest !== undefined) offsets.set(digest, contentOffset)
    }
  } catch (error) {
    if (!(error instanceof AirgapError) || error.code !== 'INVALID_CONTENT') throw error
  }
  return offsets
}
