import { resolve } from 'node:path'
import { AirgapError, messageOf } from '../errors.ts'
import { checkFolder, checkOutput } from '../files/output-checks.ts'
import { OutputFile, PARTIAL_SUFFIX } from '../files/output-file.ts'
import { lockOutput } from '../files/file-lock.ts'
import { type FileIdentity, identityOf, isSameFile, statOwnFile } from '../files/own-file.ts'
import type { RegistryClient } from '../registry/client.ts'
import { ReusableBlobs } from './reuse.ts'
import type { PackInputs, ReadJournal } from './resume/format.ts'
import { compareInputs, headerFor, inputsOf, pinnedSignature, requirePinned } from './resume/inputs.ts'
import { Journal } from './resume/journal.ts'
import { type PackPlan, planPack } from './plan.ts'
import type { Resolved } from './resolve-images.ts'
import { DocumentCache } from './sources.ts'
import { packToFile } from './to-file.ts'
import {
  cannotGoOn,
  placesOf,
  removeEarlier,
  setAside,
  tidy,
  Unfinished,
  offerOf,
} from './resume/unfinished.ts'
import type { PackSummary } from './wanted.ts'
import { withClient } from '../registry/with-client.ts'
import {
  lockGoingOn,
  lockOf,
  type PackWork,
  withUpstream,
  type PackOptions,
  type UnfinishedPack,
} from './options.ts'
import type { Run } from '../content/run.ts'
import { stat } from 'node:fs/promises'
import type { Lock } from './lock.ts'
import type { PackTarget } from './resume/resume.ts'

/**
 * Packs into a file, or resumes an interrupted pack into it.
 * @param output as the caller wrote it.
 * @throws AirgapError as {@link pack}
 */
export async function packToPath(
  output: string,
  work: PackWork,
  options: PackOptions,
  run: Run,
): Promise<{ plan: PackPlan; summary: PackSummary }> {
  const path = resolve(output)
  const force = options.force ?? false
  const fresh = options.fresh ?? false
  await checkFolder(path)
  const lock = await lockOutput(path)
  try {
    await tidy(path)
    await checkOutput(path, force)
    const inputs = inputsFor(work, options)
    const start = await startOf(output, path, inputs, {
      lock: work.what.lock,
      force,
      fresh,
      reuse: options.reuse ?? [],
    })
    await using packing = new FilePack(path, inputs, start, work, options, run)
    return await packing.run(output)
  } finally {
    await lock.release()
  }
}

function inputsFor({ what, description }: PackWork, options: PackOptions): PackInputs {
  const { name, sequence, created, key } = options
  return inputsOf({
    request: what.lock
      ? { lock: what.lock }
      : {
          ...what.request,
          rewriteDigests: options.rewriteDigests ?? false,
          allowMissingPlatform: options.allowMissingPlatform ?? false,
          allowMissingAttestations: options.allowMissingAttestations ?? false,
          resolveFrom: options.resolveFrom ?? 'source',
          referrers: options.referrers ?? 'all',
          mirrors: [...(options.mirrors ?? []), ...(options.mirrorsFrom ?? [])],
        },
    description,
    name,
    sequence,
    created,
    key: key === 'unsigned' ? key : 'keyless' in key ? 'keyless' : key.publicKey.fingerprint,
  })
}

class FilePack implements AsyncDisposable {
  readonly #path: string
  readonly #inputs: PackInputs
  readonly #start: Start
  readonly #work: PackWork
  readonly #options: PackOptions
  readonly #run: Run
  /** Open files, in the order in which they were opened. */
  readonly #open: { close(): Promise<void> }[] = []
  #output: OutputFile | undefined
  #journal: Journal | undefined

  constructor(
    path: string,
    inputs: PackInputs,
    start: Start,
    work: PackWork,
    options: PackOptions,
    run: Run,
  ) {
    this.#path = path
    this.#inputs = inputs
    this.#start = start
    this.#work = work
    this.#options = options
    this.#run = run
    if (start.unfinished) this.#open.push(start.unfinished)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const each of this.#open.toReversed()) await each.close()
  }

  async run(shown: string): Promise<{ plan: PackPlan; summary: PackSummary }> {
    const { how } = this.#start
    try {
      // So that anything in the way is found before any work is done.
      if (how === 'new') this.#output = await this.#reserve()
      if (how === 'go-on') {
        const { header, held } = this.#start.journal
        const [bytes, total] = [Math.min(held.bytes, header.blobBytes), header.blobBytes]
        this.#run.onEvent({
          type: 'resume',
          file: `${shown}${PARTIAL_SUFFIX}`,
          bytes,
          total,
          begun: header.begun,
        })
      }
      const done = await withClient(
        this.#options,
        this.#run,
        (client) => this.#pack(client),
        this.#work.known.access,
      )
      await this.#cleanUp()
      return done
    } catch (error) {
      const left = await this.#leave()
      // That error already tells what the user has to decide.
      const isOpen = error instanceof AirgapError && error.code === 'OUTPUT_UNFINISHED'
      if (left && !isOpen) await this.#options.onIncomplete?.({ file: `${shown}${PARTIAL_SUFFIX}`, ...left })
      throw error
    }
  }

  async #pack(client: RegistryClient): Promise<{ plan: PackPlan; summary: PackSummary }> {
    const { reuse, ...start } = this.#start
    const { signal } = this.#run
    const own = start.how === 'go-on' || start.how === 'take-from' ? [start.unfinished] : []
    const aside = await this.#earlier()
    const offer = await offerOf([...own, ...aside], signal)
    const everything = await this.#reusable([...offer.files, ...reuse])
    const cache = new DocumentCache(everything)
    const common = {
      ...this.#run,
      concurrency: this.#options.concurrency,
      client,
      mirrors: this.#work.known.mirrors,
      cache,
    }
    const { key, late } = this.#work.signing
    const before = start.how === 'go-on' ? start.journal.header : undefined
    const again = before !== undefined
    const resolving = (work: PackWork): Promise<Resolved> =>
      lockOf(work, client, { ...this.#options, mayAllFail: again }, this.#run, cache)
    const isSkipping = this.#options.skipFailed ?? false
    const resolved = await (before
      ? lockGoingOn(before, this.#inputs, this.#work, isSkipping, resolving)
      : resolving(this.#work))
    const { lock, failed: unresolved } = await withUpstream(resolved, this.#work, {
      client,
      cache,
      options: this.#options,
      run: this.#run,
      before: before?.lock,
    })
    const execution = { ...common, unresolved }

    if (start.how === 'go-on' && before && lock === before.lock) {
      const { isCopied } = start.journal.held
      const others = isCopied ? undefined : await offerOf(aside, signal)
      const signature = pinnedSignature(before)
      const plan = await planPack({
        ...common,
        lock,
        description: before.description,
        signature,
        late,
        reuse: await this.#reusable([...(others?.files ?? []), ...reuse]),
      })
      await requirePinned(plan, before, key, placesOf(this.#path).partial)
      signal.throwIfAborted()
      this.#journal = await start.unfinished.goOn()
      this.#open.push(this.#journal)
      this.#output = start.unfinished.file
      return this.#execute(plan, { findBeginning: others?.findBeginning }, execution)
    }

    const description = before?.description ?? this.#work.description
    const plan = await planPack({ ...common, lock, description, key, late, reuse: everything })
    signal.throwIfAborted()
    this.#output ??= await this.#makeRoom()
    const header = headerFor(plan, {
      begun: before?.begun ?? new Date().toISOString(),
      inputs: this.#inputs,
      lock,
      description,
      file: this.#output.identity,
    })
    this.#journal = await Journal.create(placesOf(this.#path).journal, header)
    this.#open.push(this.#journal)
    return this.#execute(plan, { findBeginning: offer.findBeginning }, execution)
  }

  async #execute(
    plan: PackPlan,
    target: Pick<PackTarget, 'findBeginning'>,
    options: Parameters<typeof packToFile>[2],
  ): Promise<{ plan: PackPlan; summary: PackSummary }> {
    const [output, journal] = [this.#output, this.#journal]
    if (!output || !journal) throw new AirgapError('INTERNAL', 'there is no output to write to')
    return { plan, summary: await packToFile(plan, { output, journal, ...target }, options) }
  }

  /** The unfinished file that an earlier run for this output set aside. */
  async #earlier(): Promise<Unfinished[]> {
    if (this.#start.how === 'fresh') return []
    const found = await Unfinished.find(placesOf(this.#path).earlier, { force: false, fresh: true })
    if (!found) return []
    this.#open.push(found)
    return [found]
  }

  async #reusable(files: Parameters<typeof ReusableBlobs.open>[0]): Promise<ReusableBlobs | undefined> {
    if (files.length === 0) return undefined
    const found = await ReusableBlobs.open(files, this.#run.signal)
    this.#open.push(found)
    return found
  }

  /** Removes or sets aside what is there, and creates a new file. */
  async #makeRoom(): Promise<OutputFile> {
    const { how, unfinished } = this.#start
    if (how === 'fresh') {
      await removeEarlier(this.#path)
      await unfinished.remove()
    } else if (unfinished) {
      await setAside(this.#path, unfinished)
    }
    return this.#reserve()
  }

  #reserve(): Promise<OutputFile> {
    return OutputFile.reserve(this.#path, { force: this.#options.force ?? false })
  }

  /** Called when the bundle has its name: what cannot be removed now does no harm. */
  async #cleanUp(): Promise<void> {
    try {
      await removeEarlier(this.#path)
      await this.#journal?.remove()
    } catch (error) {
      this.#run.onEvent({ type: 'warning', message: `the bundle is complete, but ${messageOf(error)}` })
    }
  }

  /**
   * After a failure: keeps what was fetched, and removes the file if nothing was.
   * @returns how much is left for the same call to resume; undefined if nothing is.
   */
  async #leave(): Promise<Omit<UnfinishedPack, 'file'> | undefined> {
    const [output, journal] = [this.#output, this.#journal]
    const { how } = this.#start
    const isGoingOn = how === 'go-on'
    if (output && journal && (isGoingOn || journal.isWorthKeeping)) {
      if (!(await output.keep())) journal.append({ lost: true })
      await journal.close()
    } else if (!isGoingOn || output) {
      await output?.discard()
      await journal?.remove()
      return undefined
    }
    const held = journal?.held ?? (how === 'go-on' ? this.#start.journal.held : undefined)
    const header = journal?.header ?? (how === 'go-on' ? this.#start.journal.header : undefined)
    // The file may have got its name before something else failed.
    if (!held || !header || !(await statOwnFile(placesOf(this.#path).partial))) return undefined
    return { bytes: Math.min(held.bytes, header.blobBytes), total: header.blobBytes }
  }
}

/** How a pack into a file begins. */
type Start = {
  /** The bundles that the caller gave to reuse, without the unfinished one. */
  reuse: string[]
} & (
  | { how: 'new'; unfinished: undefined }
  /** Resume with what was decided before; some images may no longer be wanted. */
  | { how: 'go-on'; unfinished: Unfinished; journal: ReadJournal }
  /** A new file, which takes blobs from the unfinished one. */
  | { how: 'take-from'; unfinished: Unfinished }
  /** A new file; the unfinished one is removed. */
  | { how: 'fresh'; unfinished: Unfinished }
)

/**
 * Looks for an unfinished file of the output, and decides what to do with it. Nothing is changed yet.
 * @param output as the caller wrote it.
 * @param path the same, absolute.
 * @param inputs what is packed now.
 * @throws AirgapError `OUTPUT_UNFINISHED` if the user has to decide; `OUTPUT_UNSAFE`, `USAGE`, `FILE`
 */
async function startOf(
  output: string,
  path: string,
  inputs: PackInputs,
  options: {
    lock: Lock | undefined
    force: boolean
    fresh: boolean
    reuse: readonly string[]
  },
): Promise<Start> {
  const { force, fresh } = options
  const unfinished = await Unfinished.find(path, { force, fresh })
  if (!unfinished) return { how: 'new', unfinished, reuse: [...options.reuse] }
  try {
    const { reuse, isNamed } = await withoutFile(options.reuse, unfinished.file.identity)
    if (fresh) {
      if (isNamed)
        throw new AirgapError(
          'USAGE',
          'starting from scratch would remove the unfinished bundle that blobs are to be reused from',
        )
      return { how: 'fresh', unfinished, reuse }
    }
    const name = `${output}${PARTIAL_SUFFIX}`
    const { journal } = unfinished
    const comparison = journal && compareInputs(journal.header, inputs, options.lock)
    if (journal && comparison?.kind !== 'other') return { how: 'go-on', unfinished, journal, reuse }
    if (isNamed) return { how: 'take-from', unfinished, reuse }
    throw cannotGoOn(unfinished, name, comparison?.kind === 'other' ? comparison.differences : [])
  } catch (error) {
    await unfinished.close()
    throw error
  }
}

async function withoutFile(
  files: readonly string[],
  identity: FileIdentity,
): Promise<{ reuse: string[]; isNamed: boolean }> {
  const reuse: string[] = []
  for (const file of files) {
    // If this fails, opening the file reports the error.
    const found = await stat(file, { bigint: true }).then(identityOf, () => undefined)
    if (!found || !isSameFile(found, identity)) reuse.push(file)
  }
  return { reuse, isNamed: reuse.length < files.length }
}
