import pLimit from 'p-limit'
import type { ImageEntry } from '../bundle/description.ts'
import { sortReferrers, type ReferrerEntry } from '../bundle/referrers.ts'
import { parseReference } from '../oci/reference.ts'
import type { RegistryClient } from '../registry/client.ts'
import type { Mirrors } from '../registry/mirrors/mirrors.ts'
import { sourcesFor, type Sources } from '../registry/mirrors/sources.ts'
import type { Root } from '../trust/identity/trusted-root.ts'
import type { UpstreamPolicy } from '../trust/upstream/rule.ts'
import type { OnEvent } from '../content/events.ts'
import { asRegistryFault, forEachImage, type ImageFailure } from '../content/failures.ts'
import { RunLimits } from '../content/limits.ts'
import { DEFAULT_CONCURRENCY } from '../content/parallel.ts'
import type { Lock } from '../pack/lock.ts'
import { findReferrers } from '../pack/referrers/find.ts'
import { ReferrerLookup } from '../pack/referrers/lookup.ts'
import type { DocumentCache } from '../pack/sources.ts'
import { applyPolicy, type ImageDemand, type SignatureSource, verifyImage } from './verify-image.ts'
import { OUTCOMES } from './verdict.ts'

export interface VerifyLockOptions {
  policy: UpstreamPolicy
  /** For rules that name identities. */
  root: Root | undefined
  client: RegistryClient
  mirrors: Mirrors
  cache: DocumentCache
  resolveFrom: 'source' | 'mirror'
  /** Whether the registries were just asked for all referrers of the image, so that the lock has them. */
  isListed: (image: ImageEntry) => boolean
  /** Do not throw if none of the images can be verified. */
  mayAllFail: boolean
  concurrency?: number | undefined
  signal?: AbortSignal | undefined
  onEvent?: OnEvent | undefined
}

/**
 * Applies a policy to every image of a lock. Each image that passes gets a record, and the referrer with its signature
 * is added, even if no other referrers travel along. An image that does not pass does not stop the others.
 *
 * The referrers in the lock are tried first. Registries are asked only if none of them is good.
 *
 * @throws AirgapError as `forEachImage`, if none passes.
 */
export async function verifyLock(
  lock: Lock,
  options: VerifyLockOptions,
): Promise<{ images: ImageEntry[]; failed: ImageFailure[] }> {
  const { concurrency = DEFAULT_CONCURRENCY, mayAllFail, signal, onEvent, cache, resolveFrom } = options
  onEvent?.({ type: 'phase', phase: 'upstream', items: lock.images.length, bytes: 0 })
  const choice = 'signatures' as const
  const asking = { choice, resolveFrom, cache, limit: pLimit(concurrency), signal, onEvent }
  const lookup = new ReferrerLookup(asking)
  const run = new RunLimits()
  const words = {
    nameOf: ({ source }: ImageEntry) => source,
    faultOf: asRegistryFault,
    summary: 'could not be verified',
  }
  const work = { concurrency, mayAllFail, ...(signal ? { signal } : {}), ...(onEvent ? { onEvent } : {}) }
  const { results, failed } = await forEachImage(lock.images, work, words, async (image) => {
    const sources = sourcesFor(options.client, parseReference(image.source), options.mirrors)
    const find = (): Promise<ReferrerEntry[]> => {
      const own = new Set([image.digest, ...image.platforms.map(({ digest }) => digest)])
      return findReferrers(image, own, sources, { ...asking, lookup, run })
    }
    const { record, entry } = await applyPolicy(image, options, (demand) =>
      verifyListedOrFound(
        image,
        demand,
        sourceIn(sources, options),
        options.isListed(image) ? undefined : find,
      ),
    )
    if (record.state === 'warned') {
      onEvent?.({
        type: 'warning',
        message: `${image.source}: not verified, as the policy allows: ${record.reason}`,
      })
    }
    onEvent?.({ type: 'item', name: image.source, bytes: 0, outcome: OUTCOMES[record.state] })
    return { ...image, ...(entry ? { referrers: withEntry(image.referrers, entry) } : {}), upstream: record }
  })
  return { images: results, failed }
}

type Read = Omit<SignatureSource, 'referrers'>

function sourceIn({ all }: Sources, { cache, signal }: VerifyLockOptions): Read {
  return {
    document: ({ digest }) => cache.fetch(digest, all, signal),
    blob: (descriptor, maxBytes) => cache.blob(descriptor, maxBytes, all, signal),
  }
}

async function verifyListedOrFound(
  image: ImageEntry,
  demand: ImageDemand,
  read: Read,
  find: (() => Promise<ReferrerEntry[]>) | undefined,
): ReturnType<typeof verifyImage> {
  const { referrers = [] } = image
  const verdict = await verifyImage(image, demand, { ...read, referrers })
  if (verdict.ok || !find) return verdict
  return verifyImage(image, demand, { ...read, referrers: await find() })
}

function withEntry(referrers: readonly ReferrerEntry[] = [], entry: ReferrerEntry): ReferrerEntry[] {
  const isThere = referrers.some(
    ({ subject, digest, tag }) => subject === entry.subject && digest === entry.digest && tag === entry.tag,
  )
  return isThere ? [...referrers] : sortReferrers([...referrers, entry])
}
