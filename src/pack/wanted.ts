import type { PlannedEntry } from '../bundle/plan.ts'
import { type Digest, shortHex } from '../oci/digest.ts'
import type { Begun } from '../registry/blobs/download.ts'
import type { CertificateSignature } from '../trust/keyless/sign.ts'
import type { Amount, OnEvent } from '../content/events.ts'
import { ImageProgress } from '../content/image-progress.ts'
import type { BlobToFetch } from './contents.ts'
import type { PackPlan } from './plan.ts'

/** A blob to get, and its place in the bundle. */
export interface WantedBlob {
  entry: PlannedEntry
  blob: BlobToFetch
}

/** Where the layers and configs of a finished bundle came from. */
export interface PackSummary {
  fetched: Amount
  reused: Amount
  /** The bytes that an interrupted run had fetched, and the number of complete blobs. */
  resumed: Amount
  /** The signature, if it was made with a certificate. */
  certificate?: CertificateSignature
}

/** In the order of the archive. */
export function wantedBlobs({ plan, toFetch }: PackPlan): WantedBlob[] {
  return plan.entries.flatMap((entry) => {
    const blob = entry.digest && toFetch.get(entry.digest)
    return blob ? [{ entry, blob }] : []
  })
}

/** What a pack would fetch and reuse, if every blob of the earlier bundles is unaltered. */
export function expectedSummary(pack: PackPlan): PackSummary {
  const { reuse } = pack
  return summaryOf(pack, (blob) => reuse?.has(blob.descriptor) ?? false)
}

/**
 * @param isReused whether a blob came from an earlier bundle.
 * @param taken what came from the unfinished file.
 */
export function summaryOf(
  pack: PackPlan,
  isReused: (blob: BlobToFetch) => boolean,
  taken: TakenUp = NOTHING_TAKEN_UP,
): PackSummary {
  const all = wantedBlobs(pack)
  const resumed = all.filter(({ blob }) => taken.finished.has(blob.descriptor.digest))
  const others = all.filter(({ blob }) => !taken.finished.has(blob.descriptor.digest))
  const fetched = amountOf(others.filter(({ blob }) => !isReused(blob)))
  const amount = amountOf(resumed)
  const begun = [...taken.begun.values()].reduce((sum, { position }) => sum + position, 0)
  return {
    fetched: { ...fetched, bytes: fetched.bytes - begun },
    reused: amountOf(others.filter(({ blob }) => isReused(blob))),
    resumed: { ...amount, bytes: amount.bytes + begun },
  }
}

function amountOf(blobs: readonly WantedBlob[]): Amount {
  return { count: blobs.length, bytes: blobs.reduce((sum, { entry }) => sum + entry.size, 0) }
}

/** The blobs that an unfinished file has. */
export interface TakenUp {
  /** Complete, with the right digest. */
  finished: ReadonlySet<Digest>
  /** Started: hashed up to where they end. */
  begun: ReadonlyMap<Digest, Begun>
}

export const NOTHING_TAKEN_UP: TakenUp = { finished: new Set(), begun: new Map() }

/** Reports which blobs and images are done. */
export class FetchProgress {
  readonly #images: ImageProgress
  readonly #onEvent: OnEvent | undefined

  /**
   * @param blobs what this phase has to do.
   * @param reused what was taken from earlier bundles before.
   * @param taken what was found in the unfinished file before.
   */
  constructor(
    pack: PackPlan,
    blobs: readonly WantedBlob[],
    reused: ReadonlySet<Digest>,
    onEvent: OnEvent | undefined,
    taken: TakenUp = NOTHING_TAKEN_UP,
  ) {
    this.#onEvent = onEvent
    const parts = new Map<string, Digest[]>()
    const outcomes = new Map<string, 'resumed' | 'reused'>()
    for (const [digest, { images }] of pack.toFetch) {
      const outcome = reused.has(digest) ? 'reused' : taken.finished.has(digest) ? 'resumed' : undefined
      if (!outcome) continue
      for (const { source } of images) {
        if (outcomes.get(source) !== 'reused') outcomes.set(source, outcome)
      }
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
        outcome: outcomes.get(source),
      })),
      onEvent,
    )
    const bytes = blobs.reduce((sum, { entry, blob }) => {
      return sum + entry.size - (taken.begun.get(blob.descriptor.digest)?.position ?? 0)
    }, 0)
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
