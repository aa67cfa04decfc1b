import { basename } from 'node:path'
import type { Writable } from 'node:stream'
import type { BundleDescription } from '../bundle/description.ts'
import { AirgapError } from '../errors.ts'
import { OutputFile } from '../files/output-file.ts'
import type { Digest } from '../oci/digest.ts'
import { parseReference, type Reference } from '../oci/reference.ts'
import type { RegistryClient } from '../registry/client.ts'
import type { MirrorUse } from '../registry/mirrors/in-use.ts'
import type { Amount } from '../transfer/amount.ts'
import type { Lock } from '../transfer/pack/lock.ts'
import type { PackOptions as EngineOptions, PackPlan } from '../transfer/pack/pack.ts'
import type { PackSummary } from '../transfer/pack/wanted.ts'
import type { ReusableBlobs } from '../transfer/pack/reuse.ts'
import type { SigningKey } from '../trust/keys.ts'
import { describeBundle, type DescriptionOptions } from './description.ts'
import { shared, withClient } from './client.ts'
import { knownMirrors, type KnownMirrors } from './mirrors.ts'
import { requestOf, resolveWith, type SelectionOptions, type SourceOptions } from './request.ts'
import { running, type Run } from './run.ts'

/** What a bundle is called when it goes to a stream and no name is given. */
const NAME_OF_A_STREAM = 'bundle'

/** Exactly one of `images` and `lock` is needed; what else there is to say about images goes with `images`. */
export interface PackOptions extends SourceOptions, DescriptionOptions, Partial<SelectionOptions> {
  /** What to pack, as {@link resolve} has pinned it. */
  lock?: Lock | undefined
  /**
   * The file. Or a stream, which gets the same bytes in order and is not ended: after a failure it holds a beginning
   * that no verification takes for a bundle. Undefined only plans: nothing but manifests is fetched.
   */
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
  /** The mirrors that were in use; nothing of them is in the bundle, unless they named a digest. */
  mirrors: MirrorUse[]
  /** What came over the network after planning; for a plan, what would. */
  fetched: Amount
  /** What came out of earlier bundles; for a plan, what would, if it is unaltered there. */
  reused: Amount
}

/**
 * Fetches images and writes them as one bundle. The file gets its name when it is complete, checked and synced; on
 * any failure, or when it is called off, it is removed. A pack that is called off when the file has just got its name
 * is complete, and says so.
 *
 * @throws AirgapError `USAGE`, `OUTPUT_EXISTS`, `OUTPUT_UNSAFE`, `DISK_FULL`, `FILE`, `INVALID_LOCK`; those of
 *   {@link resolve} and of registries. The signal's reason.
 */
export async function pack(options: PackOptions): Promise<Packed> {
  let file: OutputFile | undefined
  try {
    return await running(options, async (run) => {
      const work = workOf(options)
      run.signal.throwIfAborted()
      const known = await knownMirrors(options, referencesOf(work), run)
      const reuse = await openReuse(options.reuse, run)
      try {
        // Behind that: the unfinished file that this run replaces may be one to take blobs from.
        if (typeof options.output === 'string') {
          file = await OutputFile.reserve(options.output, { force: options.force ?? false })
        }
        return await packInto(file, { ...work, known }, options, run, reuse)
      } finally {
        await reuse?.close()
      }
    })
  } catch (error) {
    await file?.discard()
    throw error
  }
}

type Work = ReturnType<typeof workOf>

function referencesOf({ lock, request }: Work): Reference[] {
  return request
    ? request.images.map(({ reference }) => reference)
    : lock.images.map(({ source }) => parseReference(source))
}

/** Reads everything that can be wrong in the options. */
function workOf(options: PackOptions) {
  const { images, lock, output } = options
  const request = images && requestOf({ ...options, images })
  const name = options.name ?? (typeof output === 'string' ? basename(output) : NAME_OF_A_STREAM)
  const description = describeBundle({ ...options, name }, Date.now())
  if (lock && !request) return { lock, description }
  if (request && images && !lock) return { request, images, description }
  throw new AirgapError('USAGE', 'either a lock or images are packed')
}

async function openReuse(
  files: readonly string[] | undefined,
  { signal }: Run,
): Promise<ReusableBlobs | undefined> {
  if (!files || files.length === 0) return undefined
  const { ReusableBlobs } = await import('../transfer/pack/reuse.ts')
  return ReusableBlobs.open(files, signal)
}

function packInto(
  file: OutputFile | undefined,
  work: Work & { known: KnownMirrors },
  options: PackOptions,
  run: Run,
  reuse: ReusableBlobs | undefined,
): Promise<Packed> {
  const { mirrors, access, inUse } = work.known
  const packWith = async (client: RegistryClient): Promise<Packed> => {
    const { DocumentCache } = await import('../transfer/pack/sources.ts')
    const { planPack } = await import('../transfer/pack/pack.ts')
    const { description } = work
    const cache = new DocumentCache(reuse)
    const common = { ...shared(options, run), client, mirrors, cache }
    const lock =
      work.lock ??
      (await resolveWith(
        client,
        { ...options, images: work.images },
        run,
        { ...work.request, mirrors },
        cache,
      ))
    const key = options.key === 'unsigned' ? undefined : options.key
    const plan = await planPack({ ...common, lock, description, key, reuse })
    run.signal.throwIfAborted()
    const stream = typeof options.output === 'string' ? undefined : options.output
    const summary = await execute(plan, file ?? stream, common)
    return {
      bundleDigest: plan.plan.bundleDigest,
      size: plan.plan.totalSize,
      entries: plan.plan.entries.length,
      description: plan.description,
      isSigned: plan.isSigned,
      mirrors: inUse,
      ...summary,
    }
  }
  return withClient(options, run, packWith, access)
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
