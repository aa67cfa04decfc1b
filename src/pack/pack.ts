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
import { AirgapError } from '../errors.ts'
import { checkOutput, checkRoom } from '../files/output-checks.ts'
import { PARTIAL_SUFFIX } from '../files/output-file.ts'
import { TOLERANCE_MS } from '../registry/faults/clock.ts'
import type { Hint } from '../hints.ts'
import { formatMoment } from '../bytes.ts'

/** A bundle that has been packed, or planned. Sizes are bytes. */
export interface Packed {
  /** SHA-256 of `SHA256SUMS`, by which people quote and approve the bundle. */
  bundleDigest: Digest
  size: number
  entries: number
  /** Its layers, configs and other blobs, each once. */
  blobs: Amount
  /** Its manifests and indexes, each once. */
  manifests: Amount
  description: BundleDescription
  isSigned: boolean
  /** For a signature with a certificate: the identity in it, and the log entries. Not in a plan. */
  certificate?: Omit<CertificateSignature, 'bundleJson'>
  /** The mirrors in use. The bundle records one only if it resolved a tag. */
  mirrors: MirrorUse[]
  /** What was fetched after planning; for a plan, what would be. */
  fetched: Amount
  /** What was taken from earlier bundles; for a plan, what would be, if it is unaltered there. */
  reused: Amount
  /** What an interrupted pack had fetched: the bytes, and the number of complete blobs. */
  resumed: Amount
}

/**
 * Fetches images and writes them as one bundle. The file gets its name when it is complete, checked and synced.
 *
 * A pack into a file that fails, is cancelled or is killed after it has fetched any part of a blob leaves an unfinished
 * file next to the output (`.partial`), and its journal (`.partial.journal`). The same call resumes it, with the digests,
 * the description and the signature of the first run; so does a call for only some of its images. A call for anything else
 * is rejected with `OUTPUT_UNFINISHED`, unless it names the unfinished file in `reuse`, or is `fresh`. If a pack is
 * cancelled after the file got its name, the promise is fulfilled.
 *
 * @throws AirgapError `INCOMPLETE` if some images could not be resolved or fetched: the rest has been fetched, and
 *   `problems` has each image with its own code; `USAGE`, `OUTPUT_EXISTS`, `OUTPUT_UNSAFE`, `OUTPUT_UNFINISHED`,
 *   `OUTPUT_BUSY` (another pack into the same file is running), `DISK_FULL`, `FILE`, `INVALID_LOCK`; the errors of
 *   {@link resolve} and of registries. The signal's reason. For `keyless`: `CREDENTIALS` and `INVALID_CONFIG` before
 *   anything is done, `INCOMPLETE` if everything is there but could not be signed.
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

/** Packs into a stream, or only plans if there is none. */
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
    // Without a file, there is no place to keep what the other images need.
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
 * Tells the bundle's name if none was given, because a push remembers its sequence under that name.
 * @param name the name in the bundle; for a resumed pack, the one that the first run chose.
 */
function tellName(name: string, { name: chosen, from, reused }: ChosenName, onEvent: OnEvent): void {
  const note = (message: string, ...hints: Hint[]): void =>
    onEvent({ type: 'registry', notice: { type: 'note', message, hints } })
  const shown = JSON.stringify(name)
  if (from !== 'given') {
    const origin = from === 'reuse' ? 'like the one that it takes blobs from' : 'after its file'
    const why = name === chosen ? origin : 'as when it was begun'
    note(
      `The bundle is called ${shown}, ${why}. Push remembers it under this name and refuses an older one`,
      { id: 'name' },
    )
  }
  const others = reused.filter((other) => other !== name).map((other) => JSON.stringify(other))
  if (others.length > 0 && !reused.includes(name)) {
    note(
      `Blobs are taken from ${others.join(' and ')}, but this bundle is called ${shown}: push does not treat them as releases of one bundle.`,
    )
  }
}

/**
 * Warns if the planned bundle could not be written to this file, because of what is there or for lack of space.
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

/** What is known about registries' clocks. */
interface Clocks {
  /** The registry whose clock is furthest behind this machine's, and by how many milliseconds. */
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
 * Warns of a sequence that push may not treat as intended: one from a clock that is in the future, which makes all bundles
 * packed with a right clock look older until then; and one that is not higher than that of the last release.
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
      `the clock of this machine may be in the future: the bundle is created ${created}, but ${behind.host} says that it is ${theirs}. The sequence, ${sequence}, comes from that clock: until that time, push refuses bundles of the same name that are packed with a right clock, as older ones. Set the clock and pack again, or give a sequence`,
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
    ? `. That one was created ${last.created}, but this machine's clock says ${formatMoment(Date.now())}: one of the two clocks is wrong`
    : ''
  warn(
    `the sequence of this bundle, ${sequence}, ${relation} that of the one it takes blobs from, ${JSON.stringify(name)} ${last.sequence}: if that one was pushed, push refuses this one, ${refusal}${why}. Give a higher sequence`,
  )
}
