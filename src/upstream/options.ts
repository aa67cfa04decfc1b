import { isDeepStrictEqual } from 'node:util'
import { AirgapError } from '../errors.ts'
import type { ImageEntry } from '../bundle/description.ts'
import type { RegistryClient } from '../registry/client.ts'
import type { Lock } from '../pack/lock.ts'
import type { Resolved } from '../pack/resolve-images.ts'
import type { DocumentCache } from '../pack/sources.ts'
import type { UpstreamCheck } from './check-bundle.ts'
import type { Root } from '../trust/identity/trusted-root.ts'
import type { UpstreamPolicy } from '../trust/upstream/rule.ts'
import type { PackOptions } from '../pack/pack.ts'
import type { PackWork } from '../pack/pack-work.ts'
import type { Run } from '../content/run.ts'

/** Whose signatures images have to have from their upstreams. */
export interface UpstreamOptions {
  /**
   * Files (`dev.airgap.upstream-policy`) and names of presets (`kubernetes`); their rules count in this order, and the
   * first that is for an image applies to it.
   */
  policies: readonly string[]
  /** The trusted root (trusted_root.json) that certificates are checked with. Needed where rules name identities. */
  trustedRoot?: string | undefined
}

/** The same, read. */
export interface Upstream {
  policy: UpstreamPolicy
  root: Root | undefined
}

/**
 * Reads what a caller demands of upstreams' signatures.
 * @throws AirgapError `FILE`, `INVALID_POLICY`, `INVALID_CONTENT`; `USAGE` where a trusted root is lacking.
 */
export async function readUpstream({ policies, trustedRoot }: UpstreamOptions): Promise<Upstream> {
  if (policies.length === 0) throw new AirgapError('USAGE', 'no policy for upstreams is named')
  return upstreamWith(policies, trustedRoot === undefined ? undefined : await readUpstreamRoot(trustedRoot))
}

async function readUpstreamRoot(path: string): Promise<Root> {
  const { readTrustedRoot } = await import('../trust/identity/trusted-root.ts')
  return nameless(await readTrustedRoot(path))
}

/** Under no file's name: reasons that quote it are recorded, and must be the same everywhere. */
function nameless(root: Root): Root {
  return { ...root, source: 'the one given' }
}

/** Verifying upstreams' signatures again, in a bundle. */
export interface UpstreamCheckOptions {
  /** Policies as for {@link UpstreamOptions}. Without any, whose they have to be is what the packer has recorded. */
  policies?: readonly string[] | undefined
}

/**
 * The same, read.
 * @param root the trusted root that the caller has given, for all certificates.
 * @throws AirgapError `FILE`, `INVALID_POLICY`; `USAGE` where a trusted root is lacking.
 */
export async function readUpstreamCheck(
  { policies = [] }: UpstreamCheckOptions,
  root: Root | undefined,
): Promise<UpstreamCheck> {
  if (policies.length > 0) return upstreamWith(policies, root && nameless(root))
  if (root) return { policy: undefined, root: nameless(root) }
  throw new AirgapError(
    'USAGE',
    "upstreams' signatures are checked with a trusted root, with a policy, or with both, and none is given",
    { hint: [{ id: 'trusted-root' }, { id: 'upstream-policy' }] },
  )
}

async function upstreamWith(policies: readonly string[], root: Root | undefined): Promise<Upstream> {
  const { readUpstreamPolicies } = await import('../trust/upstream/policy-file.ts')
  const { needsRoot } = await import('../trust/upstream/rule.ts')
  const policy = await readUpstreamPolicies(policies)
  if (root || !needsRoot(policy)) return { policy, root }
  throw new AirgapError(
    'USAGE',
    'the upstream policy names identities, which are checked with a trusted root, and none is given',
    { hint: { id: 'trusted-root' } },
  )
}

/**
 * Applies what was demanded to what a pack has resolved. What was recorded before, in a lock or by an interrupted run,
 * does not count: records are made by whoever packs.
 *
 * @param before the lock of an interrupted run; given back where nothing has changed.
 * @returns the images that pass, and with those that could not be resolved those that do not pass.
 * @throws AirgapError as `verifyLock`, when none passes.
 */
export async function withUpstream(
  { lock, failed }: Resolved,
  work: PackWork,
  context: {
    client: RegistryClient
    cache: DocumentCache
    options: PackOptions
    run: Run
    before?: Lock | undefined
  },
): Promise<Resolved> {
  const { client, cache, options, run, before } = context
  const { upstream } = work
  const listed = work.what.lock ? 'none' : (options.referrers ?? 'all')
  const asked = new Map(work.what.lock?.images.map(({ source, referrers }) => [source, referrers]))
  const bare = lock.images.map((image) =>
    withoutRecord(image, listed === 'none' ? asked.get(image.source) : image.referrers),
  )
  if (!upstream) {
    const isBare = lock.images.every((image, i) => image === bare[i])
    return { lock: isBare ? lock : { ...lock, images: bare }, failed }
  }
  const { verifyLock } = await import('./verify-lock.ts')
  const { allFailed } = await import('../content/failures.ts')
  const { serializeLock } = await import('../pack/lock.ts')
  const verified = await verifyLock(
    { ...lock, images: bare },
    {
      ...run,
      concurrency: options.concurrency,
      ...upstream,
      client,
      mirrors: work.known.mirrors,
      cache,
      resolveFrom: options.resolveFrom ?? 'source',
      isListed: () => listed !== 'none',
      mayAllFail: failed.length > 0,
    },
  )
  const all = [...failed, ...verified.failed]
  if (verified.images.length === 0) {
    throw allFailed(all, `${all.length} of ${bare.length + failed.length} images cannot be packed`)
  }
  const now: Lock = { ...lock, images: verified.images }
  const isSame = before !== undefined && serializeLock(now).equals(serializeLock(before))
  return { lock: isSame ? before : now, failed: all }
}

/**
 * @param referrers what travels along with it in any case. What was found for a policy alone is a part of the record: an
 *   interrupted run may have had another policy, or none.
 */
function withoutRecord(image: ImageEntry, referrers: ImageEntry['referrers']): ImageEntry {
  const { upstream, referrers: before, ...rest } = image
  if (upstream === undefined && isDeepStrictEqual(before, referrers)) return image
  return { ...rest, ...(referrers ? { referrers } : {}) }
}
