import type { PlannedEntry } from '../../bundle/plan.ts'
import { shortHex, type Digest } from '../../oci/digest.ts'
import type { Amount } from '../amount.ts'
import type { OnEvent } from '../events.ts'
import { ImageProgress } from '../image-progress.ts'
import type { BlobToFetch } from './contents.ts'
import type { PackPlan } from './pack.ts'

/** A blob that is not known yet, and its place in the bundle. */
export interface WantedBlob {
  entry: PlannedEntry
  blob: BlobToFetch
}

/** Where the layers and configs of a finished bundle came from. */
export interface PackSummary {
  fetched: Amount
  reused: Amount
}

/** In the order of the archive. */
export function wantedBlobs({ plan, toFetch }: PackPlan): WantedBlob[] {
  return plan.entries.flatMap((entry) => {
    const blob = entry.digest && toFetch.get(entry.digest)
    return blob ? [{ entry, blob }] : []
  })
}

/** What a pack would fetch and reuse, if every blob of the earlier bundles is as it should be. */
export function expectedSummary(pack: PackPlan): PackSummary {
  const { reuse } = pack
  return summaryOf(pack, (blob) => reuse?.has(blob.descriptor) ?? false)
}

/** @param isReused whether a blob came out of an earlier bundle. */
export function summaryOf(pack: PackPlan, isReused: (blob: BlobToFetch) => boolean): PackSummary {
  const all = wantedBlobs(pack)
  return {
    fetched: amountOf(all.filter(({ blob }) => !isReused(blob))),
    reused: amountOf(all.filter(({ blob }) => isReused(blob))),
  }
}

function amountOf(blobs: readonly WantedBlob[]): Amount {
  return { count: blobs.length, bytes: blobs.reduce((sum, { entry }) => sum + entry.size, 0) }
}

/** Tells how far the blobs are, and which images are complete by them. */
export class FetchProgress {
  readonly #images: ImageProgress
  readonly #onEvent: OnEvent | undefined

  /**
   * @param blobs what is done in this phase.
   * @param reused what has been taken from earlier bundles before.
   */
  constructor(
    pack: PackPlan,
    blobs: readonly WantedBlob[],
    reused: ReadonlySet<Digest>,
    onEvent: OnEvent | undefined,
  ) {
    this.#onEvent = onEvent
    const parts = new Map<string, Digest[]>()
    const isReused = new Set<string>()
    for (const [digest, { images }] of pack.toFetch) {
      if (reused.has(digest)) for (const { source } of images) isReused.add(source)
    }
    for (const { blob } of blobs) {
      for (const { source } of blob.images) {
        parts.set(source, [...(parts.get(source) ?? []), blob.descriptor.digest])
      }
    }
    this.#images = new ImageProgress(
      pack.description.images.map(({ source, size }) => ({
        name: source,
        bytes: size,
        parts: parts.get(source) ?? [],
        ...(isReused.has(source) ? { outcome: 'reused' as const } : {}),
      })),
      onEvent,
    )
    const bytes = blobs.reduce((sum, { entry }) => sum + entry.size, 0)
    onEvent?.({ type: 'phase', phase: 'fetch', items: blobs.length, bytes, images: this.#images.count })
    this.#images.begin()
  }

  done({ descriptor, sources }: BlobToFetch, outcome: 'fetched' | 'reused'): void {
    const { digest, size } = descriptor
    const name = `${shortHex(digest)} of ${sources.at(-1)?.name ?? 'its image'}`
    this.#onEvent?.({ type: 'item', name, bytes: size, outcome, digest })
    this.#images.done(digest, outcome)
  }
}
