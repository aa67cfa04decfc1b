import { digestOfBlobName } from '../bundle/names.ts'
import type { PlannedEntry } from '../bundle/plan.ts'
import { type BundleEntry, BundleReader } from '../bundle/reader.ts'
import { findBlobs } from '../bundle/salvage.ts'
import { AirgapError } from '../errors.ts'
import type { OutputFile } from '../files/output-file.ts'
import { type Digest, digestOf, shortHex } from '../oci/digest.ts'
import { hashRanges } from '../hashing/range-threads.ts'
import type { OnEvent } from '../content/events.ts'

interface Place {
  reader: BundleReader
  entry: BundleEntry
  /** False if the journal says that part of the blob is missing. */
  isWhole: boolean
}

/** A bundle. For an unfinished one, `isWhole` tells whether it has all of a blob, as far as known. */
export type ReusableFile = string | { path: string; isWhole?: (digest: Digest, size: number) => boolean }

/**
 * Blobs of earlier bundles, finished or not, that need not be fetched again. These files are not trusted: every byte is
 * hashed when it is taken, and the digest to compare with comes from elsewhere.
 */
export class ReusableBlobs {
  readonly #readers: BundleReader[] = []
  readonly #places = new Map<Digest, Place[]>()

  /** @throws AirgapError `FILE` if a file cannot be read, `USAGE` if it is not a bundle; the signal's reason. */
  static async open(files: readonly ReusableFile[], signal?: AbortSignal): Promise<ReusableBlobs> {
    const found = new ReusableBlobs()
    try {
      for (const file of files) await found.#add(typeof file === 'string' ? { path: file } : file, signal)
      return found
    } catch (error) {
      await found.close()
      throw error
    }
  }

  async #add(
    { path: file, isWhole }: Exclude<ReusableFile, string>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const reader = await BundleReader.open(file)
    this.#readers.push(reader)
    let entries: BundleEntry[]
    try {
      entries = await findBlobs(reader, signal)
    } catch (error) {
      if (!(error instanceof AirgapError) || error.code !== 'INVALID_CONTENT') throw error
      throw new AirgapError('USAGE', `cannot reuse ${file}: ${error.message}`, {
        hint: 'Name a bundle that airgap packed, or the .partial file of an unfinished one.',
        cause: error,
      })
    }
    for (const entry of entries) {
      const digest = digestOfBlobName(entry.name)
      if (digest === undefined) continue
      const places = this.#places.get(digest) ?? []
      places.push({ reader, entry, isWhole: isWhole?.(digest, entry.size) ?? true })
      this.#places.set(digest, places)
    }
  }

  /** Whether a bundle has a blob of this digest and size. Its bytes are not checked yet. */
  has({ digest, size }: { digest: Digest; size: number }): boolean {
    return this.#places.get(digest)?.some(({ entry, isWhole }) => isWhole && entry.size === size) ?? false
  }

  /**
   * Reads a small blob and checks its digest.
   * @param limit the most bytes that it may have.
   * @returns undefined if no bundle has it unaltered.
   */
  async read(digest: Digest, limit: number): Promise<Buffer | undefined> {
    for (const { reader, entry } of this.#places.get(digest) ?? []) {
      if (entry.size > limit) continue
      const bytes = await reader.read(entry, limit)
      if (digestOf(bytes) === digest) return bytes
    }
    return undefined
  }

  /**
   * Copies blobs to their places in a new bundle, and hashes them on the way, on all cores.
   * @returns the blobs that arrived unaltered. The places of the others may hold anything.
   */
  async copy(
    wanted: readonly PlannedEntry[],
    output: OutputFile,
    options: { signal?: AbortSignal | undefined; onEvent?: OnEvent | undefined },
  ): Promise<Set<Digest>> {
    const { onEvent, signal } = options
    const good = new Set<Digest>()
    const entries = wanted.flatMap(({ digest, size, contentOffset }) =>
      digest !== undefined && this.has({ digest, size }) ? [{ digest, size, contentOffset }] : [],
    )
    const offsets = new Map(entries.map(({ digest, contentOffset }) => [digest, contentOffset]))
    onEvent?.({ type: 'phase', phase: 'reuse', items: entries.length, bytes: sumOf(entries) })
    for (const reader of this.#readers) {
      const missing = entries.filter(({ digest }) => !good.has(digest))
      const here = this.#entriesIn(reader, missing)
      await hashRanges(
        reader,
        here.toSorted((a, b) => b.size - a.size),
        (entry, actual) => {
          if (digestOfBlobName(entry.name) !== actual) return
          good.add(actual)
          const name = `${shortHex(actual)} from ${reader.path}`
          onEvent?.({ type: 'item', name, bytes: entry.size, outcome: 'reused' })
        },
        {
          copyTo: {
            output,
            offsetOf: (entry) => offsets.get(digestOfBlobName(entry.name) ?? 'sha256:') ?? 0,
          },
          ...(signal ? { signal } : {}),
          ...(onEvent ? { onProgress: (bytes: number) => onEvent({ type: 'progress', bytes }) } : {}),
        },
      )
    }
    return good
  }

  /** Finds an unaltered copy of a blob by hashing it before it is read; for streams, where nothing can be rewritten. */
  async locate(
    { digest, size }: { digest: Digest; size: number },
    signal?: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array> | undefined> {
    for (const { reader, entry } of this.#places.get(digest) ?? []) {
      if (entry.size !== size) continue
      let isGood = false
      const check = (_: BundleEntry, actual: Digest): void => void (isGood = actual === digest)
      await hashRanges(reader, [entry], check, signal ? { signal } : {})
      if (isGood) return reader.stream(entry)
    }
    return undefined
  }

  #entriesIn(reader: BundleReader, wanted: readonly { digest: Digest; size: number }[]): BundleEntry[] {
    return wanted.flatMap(({ digest, size }) => {
      const place = this.#places
        .get(digest)
        ?.find((each) => each.isWhole && each.reader === reader && each.entry.size === size)
      return place ? [place.entry] : []
    })
  }

  async close(): Promise<void> {
    await Promise.all(this.#readers.map((reader) => reader.close()))
  }
}

function sumOf(entries: readonly { size: number }[]): number {
  return entries.reduce((sum, { size }) => sum + size, 0)
}
