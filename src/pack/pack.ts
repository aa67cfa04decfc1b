import type { Writable } from 'node:stream'
import type { BundleDescription } from '../bundle/description.ts'
import type { Digest } from '../oci/digest.ts'
import type { RegistryClient } from '../registry/client.ts'
import type { MirrorUse } from '../registry/mirrors/mirrors.ts'
import type { Amount, OnEvent } from '../content/events.ts'
import type { PackPlan } from './plan.ts'
import type { PackSummary } from './wanted.ts'
import type { ReusableBlobs } from './reuse.ts'
import type { CertificateSignature } from '../trust/keyless/sign.ts'
import { chooseName, type ChosenName } from './bundle-name.ts'
import { withClient } from '../registry/with-client.ts'
import { knownMirrors } from '../inputs/mirrors/known.ts'
import {
  lockOf,
  packRequestOf,
  type PackWork,
  referencesOf,
  signingOf,
  withUpstream,
  type PackOptions,
} from './options.ts'
import { readUpstream } from '../upstream/options.ts'
import { type Run, running } from '../content/run.ts'
import { lstat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { formatMoment } from '../bundle/fields.ts'
import { AirgapError } from '../errors.ts'
import { checkOutput, checkRoom } from '../files/output-checks.ts'
import { PARTIAL_SUFFIX } from '../files/output-file.ts'
import { TOLERANCE_MS } from '../registry/faults/clock.ts'
import type { Hint } from '../hints.ts'

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
    const common = { ...run, concurrency: options.concurrency, client, mirrors, cache }
    const resolved = await lockOf(work, client, options, run, cache)
    const { lock, failed } = await withUpstream(resolved, work, { client, cache, options, run })
    // What can be fetched for later is fetched only if there is a file to keep it in.
    if (failed.length > 0) {
      const { unresolved } = await import('./resume/incomplete.ts')
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

/**
 * Says what the bundle is called where nobody has said it: its sequence is remembered under that name.
 * @param name what it is called, which a former run of an unfinished one has decided.
 */
function tellName(name: string, { name: chosen, from, reused }: ChosenName, onEvent: OnEvent): void {
  const note = (message: string, ...hints: Hint[]): void =>
    onEvent({ type: 'registry', notice: { type: 'note', message, hints } })
  const shown = JSON.stringify(name)
  if (from !== 'given') {
    const origin = from === 'reuse' ? 'as the one that it takes blobs from' : 'after its file'
    const why = name === chosen ? origin : 'as it was begun'
    note(
      `The bundle is called ${shown}, ${why}: push remembers it under this name, and refuses an older one`,
      { id: 'name' },
    )
  }
  const others = reused.filter((other) => other !== name).map((other) => JSON.stringify(other))
  if (others.length > 0 && !reused.includes(name)) {
    note(
      `Blobs are taken from ${others.join(' and ')}, and this bundle is called ${shown}: to push they are not releases of one bundle.`,
    )
  }
}

/**
 * Warns where the bundle of a plan could not be written under that name: it stands in the way, or does not fit there.
 * @param size of the bundle, in bytes.
 */
async function tellRoom(
  file: string,
  size: number,
  { force = false }: { force?: boolean | undefined },
  onEvent: OnEvent,
): Promise<void> {
  const path = resolve(file)
  try {
    await checkOutput(path, force)
    await checkRoom(path, size, await lstat(`${path}${PARTIAL_SUFFIX}`).catch(() => undefined))
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    onEvent({ type: 'warning', message: `packing would fail: ${error.message}`, hints: error.hints })
  }
}

/** What registries' clocks have said in a run. */
interface Clocks {
  /** The clock that this machine's is furthest ahead of, and by how much. Milliseconds. */
  behind: { host: string; ms: number } | undefined
}

/** Listens for registries whose clocks are behind this machine's. */
function watchClocks(outer: Run): { run: Run; clocks: Clocks } {
  const clocks: Clocks = { behind: undefined }
  const onEvent: OnEvent = (event) => {
    if (event.type === 'registry' && event.notice.type === 'warning' && event.notice.clock) {
      const { host, behindMs: ms } = event.notice.clock
      if (ms > (clocks.behind?.ms ?? 0)) clocks.behind = { host, ms }
    }
    outer.onEvent(event)
  }
  return { run: { ...outer, onEvent }, clocks }
}

/**
 * Warns of a sequence that push will judge otherwise than whoever packs has meant: one that a clock in the future has
 * given, which outranks the bundles of all right clocks until then; and one that is not above that of the last release.
 */
function tellSequence(
  description: BundleDescription,
  { last, name }: ChosenName,
  { behind }: Clocks,
  onEvent: OnEvent,
): void {
  const warn = (message: string): void => onEvent({ type: 'warning', message })
  const { sequence, created } = description
  const isByClock = sequence === Date.parse(created) / 1000
  if (behind && isByClock && Date.parse(created) - (Date.now() - behind.ms) > TOLERANCE_MS) {
    const theirs = formatMoment(Date.now() - behind.ms)
    warn(
      `the clock of this machine may be in the future: the bundle is created ${created}, and ${behind.host} says that it is ${theirs}. Its sequence, ${sequence}, is that time: until then, push refuses as older whatever is packed with a right clock under the same name. Have the clock set and pack again, or give a sequence`,
    )
  }
  if (
    !last ||
    last.name !== description.name ||
    sequence > last.sequence ||
    isDeepStrictEqual(description, last)
  )
    return
  const [relation, refusal] =
    sequence < last.sequence
      ? ['is lower than', 'as an older bundle']
      : ['is also', 'because two bundles claim one sequence']
  const isFuture = last.sequence === Date.parse(last.created) / 1000 && Date.parse(last.created) > Date.now()
  const why = isFuture
    ? `. That one was created ${last.created}, in the future of this machine's clock, ${formatMoment(Date.now())}: one of the two clocks was wrong`
    : ''
  warn(
    `the sequence of this bundle, ${sequence}, ${relation} that of the one it takes blobs from, ${JSON.stringify(name)} ${last.sequence}: where that was pushed, push refuses this one, ${refusal}${why}. Give a higher one`,
  )
}
