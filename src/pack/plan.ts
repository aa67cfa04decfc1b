import type { BundleDescription } from '../bundle/description.ts'
import { planBundle, type BundlePlan, type BundleSignature } from '../bundle/plan.ts'
import type { Digest } from '../oci/digest.ts'
import type { RegistryClient } from '../registry/client.ts'
import type { SigningKey } from '../trust/keys.ts'
import { placeholderSignature, signBytes } from '../trust/signature.ts'
import type { Amount, OnEvent } from '../content/events.ts'
import type { ImageFailure } from '../content/failures.ts'
import type { LateSigner } from './keyless.ts'
import { gatherContents, type BlobToFetch, type BundleContents, type ContentsOptions } from './contents.ts'
import type { ReusableBlobs } from './reuse.ts'
import type { Run } from '../content/run.ts'
import type { NetworkOptions } from '../registry/options.ts'

/** What will be written where, and what has to be fetched for it. Made before any layer is fetched. */
export interface PackPlan {
  plan: BundlePlan
  description: BundleDescription
  toFetch: Map<Digest, BlobToFetch>
  /** Layers, configs and other blobs. */
  blobs: Amount
  /** Manifests and indexes. */
  manifests: Amount
  /** What earlier bundles may have of it; none of their bytes has been hashed yet. */
  reuse: ReusableBlobs | undefined
  /** Written last. */
  signature: BundleSignature | undefined
  /** Makes the signature after everything else is written. */
  late: LateSigner | undefined
}

/** For both ways to execute a plan. */
export interface FetchRun extends Partial<Run>, Pick<NetworkOptions, 'concurrency'> {
  client: RegistryClient
  /**
   * Images that should be in the bundle but could not be resolved: the others are fetched, but the bundle is not finished.
   */
  unresolved?: readonly ImageFailure[]
}

/**
 * Plans the bundle for a lock: contents, signature, offsets. The signature is made here because the offsets depend on its
 * size; it is written last.
 *
 * @param key signs `SHA256SUMS`; without it and `late` the bundle is left unsigned.
 * @param signature one that an earlier run made over the same `SHA256SUMS`, used instead of `key`.
 * @param isForShow whether the plan will not be executed: then nothing is signed, and the plan has a placeholder of the
 *   signature's size.
 */
export async function planPack(
  options: ContentsOptions & {
    key?: SigningKey | undefined
    signature?: BundleSignature | undefined
    isForShow?: boolean
    late?: LateSigner | undefined
    reuse?: ReusableBlobs | undefined
  },
): Promise<PackPlan> {
  const contents = await gatherContents(options)
  const { manifests } = contents
  const signature = options.signature ?? (options.key && (await signContents(contents, options.key, options)))
  const plan = planBundle(contents.files, contents.blobs, contents.checksums, signature ?? options.late)
  return {
    plan,
    description: contents.description,
    toFetch: contents.toFetch,
    blobs: {
      count: contents.blobs.length - manifests.count,
      bytes: contents.blobs.reduce((sum, { size }) => sum + size, 0) - manifests.bytes,
    },
    manifests,
    reuse: options.reuse,
    signature,
    late: options.late,
  }
}

async function signContents(
  { checksums }: BundleContents,
  key: SigningKey,
  {
    isForShow = false,
    signal,
    onEvent,
  }: { isForShow?: boolean; signal?: AbortSignal | undefined; onEvent?: OnEvent | undefined },
): Promise<BundleSignature> {
  if (!isForShow && key.heldBy !== undefined) onEvent?.({ type: 'signing', by: key.heldBy })
  const { bundleJson, der } = isForShow
    ? placeholderSignature(checksums, key.publicKey)
    : await signBytes(checksums, key, signal)
  return { sigstore: bundleJson, raw: der }
}
