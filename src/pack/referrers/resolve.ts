import pLimit from 'p-limit'
import type { ImageEntry } from '../../bundle/description.ts'
import type { ReferrerChoice } from '../../oci/referrer.ts'
import { AirgapError, type ErrorCode } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Sources } from '../../registry/mirrors/sources.ts'
import type { OnEvent } from '../../content/events.ts'
import { asRegistryFault, forEachImage, type ImageFailure } from '../../content/failures.ts'
import { RunLimits } from '../../content/limits.ts'
import { DEFAULT_CONCURRENCY } from '../../content/parallel.ts'
import type { DocumentCache } from '../sources.ts'
import { findReferrers } from './find.ts'
import { ReferrerLookup } from './lookup.ts'

/** An image that is pinned, and where it can be read. */
export interface PinnedImage {
  entry: ImageEntry
  /** Manifests and indexes that are delivered. */
  own: ReadonlySet<Digest>
  sources: Sources
}

interface Options {
  choice: ReferrerChoice
  resolveFrom: 'source' | 'mirror'
  cache: DocumentCache
  concurrency?: number | undefined
  mayAllFail: boolean
  signal?: AbortSignal | undefined
  onEvent?: OnEvent | undefined
}

/**
 * Adds to pinned images what refers to them and travels along. An image for which that cannot be found out has
 * failed: a bundle without its signatures must not look like the bundle of an image that has none.
 *
 * @throws AirgapError as `forEachImage`, when all have failed.
 */
export async function addReferrers(
  images: readonly PinnedImage[],
  { choice, mayAllFail, ...options }: Options,
): Promise<{ results: ImageEntry[]; failed: ImageFailure[] }> {
  if (choice === 'none' || images.length === 0)
    return { results: images.map(({ entry }) => entry), failed: [] }
  const { concurrency = DEFAULT_CONCURRENCY, signal, onEvent } = options
  onEvent?.({ type: 'phase', phase: 'referrers', items: images.length, bytes: 0 })
  const common = { ...options, choice, limit: pLimit(concurrency), run: new RunLimits() }
  const lookup = new ReferrerLookup(common)
  const words = {
    nameOf: ({ entry }: PinnedImage) => entry.source,
    faultOf: withWayOut,
    summary: 'could not be resolved with what refers to them',
  }
  const work = { concurrency, mayAllFail, ...(signal ? { signal } : {}), ...(onEvent ? { onEvent } : {}) }
  return forEachImage(images, work, words, async ({ entry, own, sources }) => {
    const referrers = await findReferrers(entry, own, sources, { ...common, lookup })
    const bytes = referrers.reduce((sum, { size }) => sum + size, 0)
    onEvent?.({ type: 'item', name: entry.source, bytes, outcome: 'listed' })
    return referrers.length === 0 ? entry : { ...entry, referrers }
  })
}

/** Faults that a registry may have with nothing but lists of referrers. */
const OF_THE_LIST: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'REGISTRY',
  'DENIED',
  'UNAUTHORIZED',
  'CONTENT_MISMATCH',
  'UNSUPPORTED_CONTENT',
])

function withWayOut(error: unknown, image: string): unknown {
  const fault = asRegistryFault(error, image)
  if (!(fault instanceof AirgapError) || !OF_THE_LIST.has(fault.code)) return fault
  const { code, message, hint, problems } = fault
  const way = 'To go without signatures, attestations and SBOMs: --referrers none.'
  return new AirgapError(code, message, {
    hint: [hint, way].filter(Boolean).join(' '),
    problems,
    cause: fault,
  })
}
