import type { Writable } from 'node:stream'
import type { BundleDescription } from '../bundle/description.ts'
import type { Digest } from '../oci/digest.ts'
import type { RegistryClient } from '../registry/client.ts'
import type { MirrorUse } from '../registry/mirrors/in-use.ts'
import type { Amount } from '../content/amount.ts'
import type { Lock } from './lock.ts'
import type { PackPlan } from './plan.ts'
import type { PackSummary } from './wanted.ts'
import type { ReusableBlobs } from './reuse.ts'
import type { CertificateSignature } from '../trust/keyless/sign.ts'
import type { SigningKey } from '../trust/keys.ts'
import { chooseName } from './bundle-name.ts'
import type { DescriptionOptions } from './describe.ts'
import { tellName, tellRoom, tellSequence, watchClocks } from './pack-notes.ts'
import { shared, withClient } from '../registry/with-client.ts'
import type { KeylessOptions } from './keyless.ts'
import type { UnfinishedPack } from './pack-file.ts'
import { knownMirrors } from '../inputs/mirrors/known.ts'
import { lockOf, packRequestOf, referencesOf, signingOf, type PackWork } from './pack-work.ts'
import type { SelectionOptions, SourceOptions } from './request.ts'
import { readUpstream, withUpstream, type UpstreamOptions } from '../upstream/options.ts'
import { running, type Run } from '../content/run.ts'

/** Exactly one of `images` and `lock` is needed; what else there is to say about images goes with `images`. */
export interface PackOptions extends SourceOptions, DescriptionOptions, Partial<SelectionOptions> {
  /** What to pack, as {@link resolve} has pinned it. */
  lock?: Lock | undefined
  /**
   * The file. Or a stream, which gets the same bytes in order and is not ended: after a failure it holds a beginning
   * that no verification takes for a bundle. Undefined only plans: nothing but manifests is fetched.
   */
  output: string | Writable | undefined
  /**
   * The file of the bundle that is planned, where `output` is undefined: its default name follows from it, and a warning
   * tells where it could not be written.
   */
  fileName?: string | undefined
  /** Replace the file if it exists. */
  force?: boolean | undefined
  /** Start over from nothing, even if an interrupted pack could be gone on with. */
  fresh?: boolean | undefined
  /**
   * Signs the bundle; `unsigned` leaves it so. `keyless` signs with a certificate for an identity token, when every blob is
   * there; the identity and the SHA-256 of `SHA256SUMS` become public for ever then, unless the services are private ones.
   */
  key: SigningKey | 'unsigned' | { keyless: KeylessOptions }
  /**
   * Verify who has signed the images at their upstreams. One that does not pass fails, and is not left out by `skipFailed`;
   * `upstream` of each image in the description says what was verified, and the signature travels along.
   */
  verifyUpstream?: UpstreamOptions | undefined
  /** Earlier bundles, also unfinished ones, that blobs are taken from instead of the network. */
  reuse?: readonly string[] | undefined
  /**
   * Is told what a pack that broke off has left for the same call to go on with; not where nothing is left. Waited
   * for, also when the work is called off.
   */
  onIncomplete?: ((unfinished: UnfinishedPack) => void | Promise<void>) | undefined
}

/** A bundle that has been packed, or planned. Sizes are bytes. */
export interface Packed {
  /** The identity that people quote and approve: SHA-256 of `SHA256SUMS`. */
  bundleDigest: Digest
  size: number
  entries: number
  /** Layers, configs and other blobs in it, each once. */
  blobs: Amount
  /** Manifests and indexes in it, each once. */
  manifests: Amount
  description: BundleDescription
  isSigned: boolean
  /** Whom the certificate names that it was signed with, and where that is entered; not in a plan. */
  certificate?: Omit<CertificateSignature, 'bundleJson'>
  /** The mirrors that were in use; nothing of them is in the bundle, unless they named a digest. */
  mirrors: MirrorUse[]
  /** What came over the network after planning; for a plan, what would. */
  fetched: Amount
  /** What came out of earlier bundles; for a plan, what would, if it is unaltered there. */
  reused: Amount
  /** What an interrupted pack had fetched: its bytes, and the blobs that were complete. */
  resumed: Amount
}

/**
 * Fetches images and writes them as one bundle. The file gets its name when it is complete, checked and synced.
 *
 * A pack into a file that fails, is called off or killed after the first byte of a blob has come leaves an unfinished
 * file beside the output's place (`.partial`), and its journal (`.partial.journal`). The same call goes on from there,
 * with the digests, the description and the signature of the first one; a call for some of its images does, too. A call
 * for anything else is rejected with `OUTPUT_UNFINISHED`, unless it names the unfinished file in `reuse`, or is `fresh`.
 * A pack that is called off when the file has just got its name is complete, and says so.
 *
 * @throws AirgapError `INCOMPLETE` when some images could not be resolved or fetched: the rest has been fetched, and
 *   `problems` has each image with its own code; `USAGE`, `OUTPUT_EXISTS`, `OUTPUT_UNSAFE`, `OUTPUT_UNFINISHED`, `OUTPUT_BUSY` (another pack into
 *   the same file is at work), `DISK_FULL`, `FILE`, `INVALID_LOCK`; those of {@link resolve} and of registries. The
 *   signal's reason. Without a key: `CREDENTIALS` and `INVALID_CONFIG` before anything is done, `INCOMPLETE` where all is
 *   there and could not be signed.
 */
export async function pack(options: PackOptions): Promise<Packed> {
  return running(options, async (outer) => {
    const { run, clocks } = watchClocks(outer)
    const file = typeof options.output === 'string' ? options.output : options.fileName
    const chosen = await chooseName({ name: options.name, reuse: options.reuse, file }, run.signal)
    const request = packRequestOf(options, chosen.name)
    run.signal.throwIfAborted()
    const tell = async (packed: Packed): Promise<Packed> => {
      const { fileName } = options
      if (fileName !== undefined && options.output === undefined)
        await tellRoom(fileName, packed.size, options, run.onEvent)
      tellName(packed.description.name, chosen, run.onEvent)
      tellSequence(packed.description, chosen, clocks, run.onEvent)
      return packed
    }
    const signing = await signingOf(options, run)
    const upstream = options.verifyUpstream && (await readUpstream(options.verifyUpstream))
    run.signal.throwIfAborted()
    const known = await knownMirrors(options, referencesOf(request), run)
    const work = { ...request, known, signing, upstream }
    const { inUse } = work.known
    const { output } = options
    if (typeof output === 'string') {
      const { packToPath } = await import('./pack-file.ts')
      return tell(packedOf(await packToPath(output, work, options, run), inUse))
    }
    const reuse = await openReuse(options.reuse, run)
    try {
      return await tell(packedOf(await packElsewhere(output, work, options, run, reuse), inUse))
    } finally {
      await reuse?.close()
    }
  })
}

async function openReuse(
  files: readonly string[] | undefined,
  { signal }: Run,
): Promise<ReusableBlobs | undefined> {
  if (!files || files.length === 0) return undefined
  const { ReusableBlobs } = await import('./reuse.ts')
  return ReusableBlobs.open(files, signal)
}

/** Into a stream, or nowhere: then it is only planned. */
function packElsewhere(
  stream: Writable | undefined,
  work: PackWork,
  options: PackOptions,
  run: Run,
  reuse: ReusableBlobs | undefined,
): Promise<{ plan: PackPlan; summary: PackSummary }> {
  const { mirrors, access } = work.known
  const packWith = async (client: RegistryClient): Promise<{ plan: PackPlan; summary: PackSummary }> => {
    const { DocumentCache } = await import('./sources.ts')
    const { planPack } = await import('./plan.ts')
    const cache = new DocumentCache(reuse)
    const { description } = work
    const common = { ...shared(options, run), client, mirrors, cache }
    const resolved = await lockOf(work, client, options, run, cache)
    const { lock, failed } = await withUpstream(resolved, work, { client, cache, options, run })
    // What can be fetched for later is fetched only if there is a file to keep it in.
    if (failed.length > 0) {
      const { unresolved } = await import('./incomplete.ts')
      throw unresolved(failed, lock.images.length + failed.length)
    }
    const plan = await planPack({
      ...common,
      lock,
      description,
      ...work.signing,
      reuse,
      isForShow: !stream,
    })
    run.signal.throwIfAborted()
    if (!stream) {
      const { expectedSummary } = await import('./wanted.ts')
      return { plan, summary: expectedSummary(plan) }
    }
    const { packToStream } = await import('./to-stream.ts')
    return { plan, summary: await packToStream(plan, stream, common) }
  }
  return withClient(options, run, packWith, access)
}

function packedOf({ plan, summary }: { plan: PackPlan; summary: PackSummary }, mirrors: MirrorUse[]): Packed {
  const { certificate: made, ...amounts } = summary
  const certificate = made && { identity: made.identity, issuer: made.issuer, logEntries: made.logEntries }
  return {
    bundleDigest: plan.plan.bundleDigest,
    size: plan.plan.totalSize,
    entries: plan.plan.entries.length,
    blobs: plan.blobs,
    manifests: plan.manifests,
    description: plan.description,
    isSigned: (plan.signature ?? plan.late) !== undefined,
    ...(certificate ? { certificate } : {}),
    mirrors,
    ...amounts,
  }
}
