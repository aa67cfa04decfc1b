import { basename } from 'node:path'
import type { Writable } from 'node:stream'
import type { BundleDescription } from '../bundle/description.ts'
import { AirgapError } from '../errors.ts'
import { OutputFile } from '../files/output-file.ts'
import type { Digest } from '../oci/digest.ts'
import type { Lock } from '../transfer/pack/lock.ts'
import type { PackOptions as EngineOptions, PackPlan } from '../transfer/pack/pack.ts'
import type { Amount, PackSummary } from '../transfer/pack/wanted.ts'
import type { ReusableBlobs } from '../transfer/pack/reuse.ts'
import type { SigningKey } from '../trust/keys.ts'
import { describeBundle, type DescriptionOptions } from './description.ts'
import { mirrorsOf, requestOf, resolveWith, type SelectionOptions, type SourceOptions } from './resolve.ts'
import { shared, withClient } from './run.ts'

/** What a bundle is called when it goes to a stream and no name is given. */
const NAME_OF_A_STREAM = 'bundle'

export interface PackOptions extends SourceOptions, DescriptionOptions, Partial<SelectionOptions> {
  /** What to pack, as {@link resolve} has pinned it. One of `lock` and `images` is needed. */
  lock?: Lock | undefined
  /** The file, or a stream; undefined only plans. */
  output: string | Writable | undefined
  /** Replace the file if it exists. */
  force?: boolean | undefined
  /** Signs the bundle; `unsigned` leaves it so. */
  key: SigningKey | 'unsigned'
  /** Earlier bundles, also unfinished ones, that blobs are taken from instead of the network. */
  reuse?: readonly string[] | undefined
}

/** A bundle that has been packed, or planned. Sizes are bytes. */
export interface Packed {
  /** The identity that people quote and approve: SHA-256 of `SHA256SUMS`. */
  bundleDigest: Digest
  size: number
  entries: number
  description: BundleDescription
  isSigned: boolean
  /** What came over the network after planning, and what out of earlier bundles; for a plan, what would. */
  fetched: Amount
  reused: Amount
}

/**
 * Fetches images and writes them as one bundle. The file gets its name when it is complete, checked and synced; on
 * any failure, or when it is called off, it is removed.
 *
 * @throws AirgapError `USAGE`, `OUTPUT_EXISTS`, `OUTPUT_UNSAFE`, `DISK_FULL`, `FILE`, `INVALID_LOCK`; those of
 *   {@link resolve} and of registries.
 */
export async function pack(options: PackOptions): Promise<Packed> {
  const { images, lock, output, signal } = options
  if ((lock === undefined) === (images === undefined)) {
    throw new AirgapError('USAGE', 'either a lock or images are packed')
  }
  const request = images && (await requestOf({ ...options, images }))
  const mirrors = request?.mirrors ?? (await mirrorsOf(options.mirrors))
  const name = options.name ?? (typeof output === 'string' ? basename(output) : NAME_OF_A_STREAM)
  const description = describeBundle({ ...options, name }, Date.now())
  signal?.throwIfAborted()

  let reuse: ReusableBlobs | undefined
  let file: OutputFile | undefined
  try {
    if (options.reuse && options.reuse.length > 0) {
      const { ReusableBlobs } = await import('../transfer/pack/reuse.ts')
      reuse = await ReusableBlobs.open(options.reuse)
    }
    // Behind that: the unfinished file that this run replaces may be one to take blobs from.
    if (typeof output === 'string') {
      file = await OutputFile.reserve(output, { force: options.force ?? false })
    }
    return await withClient(options, async (client) => {
      const { DocumentCache } = await import('../transfer/pack/sources.ts')
      const { planPack } = await import('../transfer/pack/pack.ts')
      const cache = new DocumentCache(reuse)
      const common = { ...shared(options), client, mirrors, cache }
      const pinned =
        lock ?? (await resolveWith(client, { ...options, images: images ?? [] }, request ?? nothing(), cache))
      const key = options.key === 'unsigned' ? undefined : options.key
      const plan = await planPack({ ...common, lock: pinned, description, key, reuse })
      const summary = await execute(plan, file ?? (output as Writable | undefined), common)
      return {
        bundleDigest: plan.plan.bundleDigest,
        size: plan.plan.totalSize,
        entries: plan.plan.entries.length,
        description: plan.description,
        isSigned: plan.isSigned,
        ...summary,
      }
    })
  } catch (error) {
    await file?.discard()
    throw error
  } finally {
    await reuse?.close()
  }
}

async function execute(
  plan: PackPlan,
  output: OutputFile | Writable | undefined,
  options: EngineOptions,
): Promise<PackSummary> {
  if (output === undefined) return (await import('../transfer/pack/wanted.ts')).expectedSummary(plan)
  if (output instanceof OutputFile) {
    return (await import('../transfer/pack/to-file.ts')).packToFile(plan, output, options)
  }
  return (await import('../transfer/pack/to-stream.ts')).packToStream(plan, output, options)
}

function nothing(): never {
  throw new AirgapError('INTERNAL', 'there is neither a lock nor a request')
}
