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

/** Whose signatures the images must have from their upstreams. */
export interface UpstreamOptions {
  /**
   * Files (`dev.airgap.upstream-policy`) and names of presets (`kubernetes`). Their rules are tried in this order, and
   * the first that matches an image applies to it.
   */
  policies: readonly string[]
  /** The trusted root (trusted_root.json) for verifying certificates. Required if rules name identities. */
  trustedRoot?: string | undefined
}

/** The same, read. */
export interface Upstream {
  policy: UpstreamPolicy
  root: Root | undefined
}

/**
 * Reads what a caller demands of upstreams' signatures.
 * @throws AirgapError `FILE`, `INVALID_POLICY`, `INVALID_CONTENT`; `USAGE` if a trusted root is missing.
 */
export async function readUpstream({ policies, trustedRoot }: UpstreamOptions): Promise<Upstream> {
  if (policies.length === 0) throw new AirgapError('USAGE', 'no upstream policy is given')
  return upstreamWith(policies, trustedRoot === undefined ? undefined : await readUpstreamRoot(trustedRoot))
}

async function readUpstreamRoot(path: string): Promise<Root> {
  const { readTrustedRoot } = await import('../trust/identity/trusted-root.ts')
  return nameless(await readTrustedRoot(path))
}

/** The root without its file name, because reasons that quote it are recorded, and must be the same everywhere. */
function nameless(root: Root): Root {
  return { ...root, source: 'the one given' }
}

/** Verifying upstreams' signatures again, in a bundle. */
export interface UpstreamCheckOptions {
  /** Policies as for {@link UpstreamOptions}. Without any, the packer's records say who must have signed. */
  policies?: readonly string[] | undefined
}

/**
 * The same, read.
 * @param root the caller's trusted root, for all certificates.
 * @throws AirgapError `FILE`, `INVALID_POLICY`; `USAGE` if a trusted root is missing.
 */
export async function readUpstreamCheck(
  { policies = [] }: UpstreamCheckOptions,
  root: Root | undefined,
): Promise<UpstreamCheck> {
  if (policies.length > 0) return upstreamWith(policies, root && nameless(root))
  if (root) return { policy: undefined, root: nameless(root) }
  throw new AirgapError(
    'USAGE',
    "verifying upstreams' signatures needs a trusted root, a policy, or both, but none is given",
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
    'the upstream policy names identities, which need a trusted root, but none is given',
    { hint: { id: 'trusted-root' } },
  )
}

/**
 * Applies an upstream policy to what a pack resolved. Earlier records, in a lock or from an interrupted run, are
 * ignored, because every pack makes its own.
 *
 * @param before the lock of an interrupted run; returned if nothing changed.
 * @returns the images that pass. Those that do not pass are added to those that could not be resolved.
 * @throws AirgapError as `verifyLock`, if none passes.
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
 * The image without upstream records. Referrers that were found only for a policy are part of the record too: an
 * interrupted run may have had another policy, or none.
 * @param referrers those that travel along in any case.
 */
function withoutRecord(image: ImageEntry, referrers: ImageEntry['referrers']): ImageEntry {
  const { upstream, referrers: before, ...rest } = image
  if (upstream === undefined && isDeepStrictEqual(before, referrers)) return image
  return { ...rest, ...(referrers ? { referrers } : {}) }
}
