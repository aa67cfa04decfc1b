import { FileWriter } from '../bundle/writer.ts'
import type { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { downloadBlob, type BlobSink } from '../registry/blobs/download.ts'
import { blobProgress } from '../content/events.ts'
import { likeness, tellFailure, tryEach } from '../content/failures.ts'
import { imageByImage } from '../content/image-progress.ts'
import { partOf, unfinished } from './resume/incomplete.ts'
import type { Journal } from './resume/journal.ts'
import type { FetchRun, PackPlan } from './plan.ts'
import { signLate } from './keyless.ts'
import { takeUp, type PackTarget } from './resume/resume.ts'
import {
  FetchProgress,
  summaryOf,
  wantedBlobs,
  type PackSummary,
  type TakenUp,
  type WantedBlob,
} from './wanted.ts'

/**
 * Takes what the unfinished file and earlier bundles have, fetches the rest, and writes each blob straight to its place,
 * hashed as it arrives. A blob that cannot be fetched does not stop the others. The file gets its name when everything is
 * there.
 *
 * @throws AirgapError `INCOMPLETE`, which names the images that lack something; if no blob could be fetched and all failed
 *   with the same code, that code. Errors of the output at once, unchanged; the signal's reason.
 */
export async function packToFile(
  pack: PackPlan,
  target: PackTarget,
  options: FetchRun,
): Promise<PackSummary> {
  const { onEvent, unresolved = [] } = options
  const { output, journal } = target
  const writer = new FileWriter(output, pack.plan)
  output.onSync = journal.syncing
  await writer.begin()
  if (journal.held.isNew) noteKnown(pack, journal)
  output.syncSoon()
  const all = wantedBlobs(pack)
  const taken = await takeUp(pack, target, options)
  const missing = all.filter(({ blob }) => !taken.finished.has(blob.descriptor.digest))
  const reused = await copyReused(pack, missing, taken, target, options)
  const rest = missing.filter(({ blob }) => !reused.has(blob.descriptor.digest))
  const progress = new FetchProgress(pack, rest, reused, onEvent, taken)
  const inOrder = imageByImage(
    rest,
    ({ entry }) => entry.size,
    ({ blob }) => blob.images,
  )
  // Of several blobs that fail for the same reason, only the first is reported here; the error has all of them.
  const told = new Set<string>()
  const onFailed = ({ blob }: WantedBlob, error: AirgapError): void => {
    if (told.has(likeness(error))) return
    told.add(likeness(error))
    const source = blob.sources.at(-1)?.name ?? 'its image'
    tellFailure(onEvent, { source, part: partOf(blob), error })
  }
  const { failed } = await tryEach(inOrder, { ...options, onFailed }, async ({ entry, blob }, signal) => {
    const begun = taken.begun.get(blob.descriptor.digest)
    using sink = new NotedSink({ entry, blob }, writer, journal, begun?.position ?? 0)
    await downloadBlob(blob.sources, blob.descriptor, sink, {
      client: options.client,
      signal,
      begun,
      ...blobProgress(onEvent, begun?.position),
    })
    sink.finish()
    progress.done(blob, 'fetched')
  })
  const lacking = failed.map(({ item, error }) => ({ blob: item.blob, error }))
  if (lacking.length > 0 || unresolved.length > 0) {
    const { images } = pack.description
    throw unfinished(output.path, images, { failed: unresolved, missing: lacking, blobs: all.length })
  }
  const certificate =
    pack.late && (await signLate(pack.late, pack.plan.checksums, { writer, ...target }, options.signal))
  await writer.finish(
    options.signal,
    {
      keep: true,
      beforeNaming: async () => {
        journal.append({ complete: true })
        await journal.flush()
      },
    },
    certificate?.bundleJson,
  )
  const summary = summaryOf(pack, ({ descriptor }) => reused.has(descriptor.digest), taken)
  return { ...summary, ...(certificate ? { certificate } : {}) }
}

/** Notes the documents and configs that were read for the plan, which are already written. */
function noteKnown({ plan }: PackPlan, journal: Journal): void {
  for (const { read, digest, size } of plan.entries) {
    if (read && digest !== undefined) journal.append({ blob: digest, finished: size })
  }
}

async function copyReused(
  { reuse }: PackPlan,
  missing: readonly WantedBlob[],
  { begun }: TakenUp,
  { output, journal }: PackTarget,
  options: FetchRun,
): Promise<ReadonlySet<Digest>> {
  const wanted = missing.filter(
    ({ blob: { descriptor } }) => reuse?.has(descriptor) && !begun.has(descriptor.digest),
  )
  // A copy is hashed while it is written. Until its digest is right, it does not count.
  for (const { blob } of wanted) journal.settled(blob.descriptor.digest, 0)
  const entries = wanted.map(({ entry }) => entry)
  const good = (await reuse?.copy(entries, output, options)) ?? new Set()
  for (const { entry, blob } of wanted) {
    const { digest } = blob.descriptor
    if (good.has(digest)) journal.append({ blob: digest, finished: entry.size })
  }
  if (journal.held.isCopied) return good
  // The files that they came from may be gone later.
  if (good.size > 0 || begun.size > 0) await output.sync()
  journal.append({ copied: true })
  return good
}

/** Writes a blob to its place in the bundle, and records the progress in the journal. */
class NotedSink implements BlobSink {
  readonly restartable = true
  readonly #wanted: WantedBlob
  readonly #writer: FileWriter
  readonly #journal: Journal
  /** How many bytes from the start are in place. */
  #position: number

  constructor(wanted: WantedBlob, writer: FileWriter, journal: Journal, position: number) {
    this.#wanted = wanted
    this.#writer = writer
    this.#journal = journal
    this.#position = position
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    const { entry, blob } = this.#wanted
    const { digest } = blob.descriptor
    // It starts over: what was there is about to be overwritten.
    if (position < this.#position) this.#journal.settled(digest, position)
    await this.#writer.writeContent(entry, bytes, position)
    this.#journal.isWorthKeeping = true
    this.#position = position + bytes.length
    this.#journal.written(digest, this.#position, entry.size)
  }

  finish(): void {
    const { entry, blob } = this.#wanted
    this.#journal.append({ blob: blob.descriptor.digest, finished: entry.size })
  }

  /** Records the final position. */
  [Symbol.dispose](): void {
    this.#journal.settled(this.#wanted.blob.descriptor.digest, this.#position)
  }
}
