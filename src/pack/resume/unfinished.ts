import { constants } from 'node:fs'
import { lstat, rename, unlink, type FileHandle } from 'node:fs/promises'
import { basename } from 'node:path'
import { AirgapError, fileError, messageOf, systemCode, type Problem } from '../../errors.ts'
import { formatMoment } from '../../bundle/fields.ts'
import { CHECKSUMS, MAX_CHECKSUMS, digestOfBlobName } from '../../bundle/names.ts'
import { BLOCK, decodeHeader } from '../../bundle/tar.ts'
import { JOURNAL_SUFFIX, OutputFile, PARTIAL_SUFFIX } from '../../files/output-file.ts'
import {
  identityOf,
  isSameFile,
  openOwnFile,
  readOwnFile,
  removeOwnFile,
  statOwnFile,
} from '../../files/own-file.ts'
import { digestOf, type Digest } from '../../oci/digest.ts'
import { bootName, type JournalHeader, MAX_JOURNAL, parseJournal, type ReadJournal } from './format.ts'
import { Journal } from './journal.ts'
import { findBlobs } from '../../bundle/salvage.ts'
import { BundleReader } from '../../bundle/reader.ts'
import type { ReusableFile } from '../reuse.ts'
import type { WantedBlob } from '../wanted.ts'

/** What an unfinished file is called that another run makes use of: the output's name, this, and `.partial`. */
const EARLIER = '.earlier'

/** The names that belong to an output. */
export function placesOf(path: string): { partial: string; journal: string; earlier: string } {
  const partial = `${path}${PARTIAL_SUFFIX}`
  return { partial, journal: `${partial}${JOURNAL_SUFFIX}`, earlier: `${path}${EARLIER}` }
}

/** An unfinished file as it was found, open. */
export class Unfinished {
  readonly file: OutputFile
  /** Undefined where there is none that can be trusted. */
  readonly journal: ReadJournal | undefined
  /** Why not. */
  readonly reason: string
  readonly #handle: FileHandle | undefined

  private constructor(
    file: OutputFile,
    found: { journal?: ReadJournal | undefined; reason?: string; handle?: FileHandle | undefined },
  ) {
    this.file = file
    this.journal = found.journal
    this.reason = found.reason ?? ''
    this.#handle = found.handle
  }

  /**
   * Looks at what an interrupted run has left. What it cannot have got beyond, an empty file, is removed.
   * @param path absolute; that of the finished file.
   * @param options `fresh` says that nobody wants it: then a journal that has lost its file is removed.
   * @returns undefined where there is no unfinished file.
   * @throws AirgapError `OUTPUT_UNSAFE` for what is not plainly ours, `FILE`; `OUTPUT_UNFINISHED` for a journal that
   *   has lost its file.
   */
  static async find(
    path: string,
    { force, fresh }: { force: boolean; fresh: boolean },
  ): Promise<Unfinished | undefined> {
    const { partial, journal: journalPath } = placesOf(path)
    const file = await OutputFile.reopen(path, { force })
    let handle: FileHandle | undefined
    try {
      const opened = await openOwnFile(journalPath, constants.O_RDWR | constants.O_APPEND)
      handle = opened?.handle
      if (!opened || !handle) {
        if (file?.sizeBefore === 0) return await file.discard().then(() => undefined)
        return file && new Unfinished(file, { reason: `there is no journal beside it` })
      }
      let journal: ReadJournal | undefined
      let reason = 'its journal ends before it says what it is about'
      try {
        journal = parseJournal(await readOwnFile(opened, journalPath, MAX_JOURNAL), await bootName())
      } catch (error) {
        reason = `its journal cannot be trusted: ${messageOf(error)}`
      }
      if (file && !journal && file.sizeBefore === 0) {
        await handle.close()
        await removeOwnFile(journalPath)
        return await file.discard().then(() => undefined)
      }
      if (!file) {
        if (!fresh) throw orphan(journalPath, partial)
        await handle.close()
        await removeOwnFile(journalPath)
        return undefined
      }
      if (journal && !(await isAbout(journal, file))) {
        journal = undefined
        reason = 'its journal is about another file'
      }
      return new Unfinished(file, { journal, reason, handle })
    } catch (error) {
      await handle?.close()
      await file?.close()
      throw error
    }
  }

  /** Goes on with the journal. This object's file and journal are then the caller's. */
  async goOn(): Promise<Journal> {
    if (!this.journal || !this.#handle) throw new AirgapError('INTERNAL', 'there is no journal to go on with')
    return Journal.goOn(`${this.file.partial}${JOURNAL_SUFFIX}`, this.#handle, this.journal)
  }

  /** Closes what is open and leaves everything as it is. Harmless when it is closed. */
  async close(): Promise<void> {
    await this.#handle?.close().catch((error: unknown) => {
      if (systemCode(error) !== 'EBADF') throw error
    })
    await this.file.close()
  }

  /** Removes file and journal. */
  async remove(): Promise<void> {
    await this.close()
    await removeOwnFile(`${this.file.partial}${JOURNAL_SUFFIX}`)
    await this.file.discard()
  }

  /** Bytes of a blob that the journal says are there; undefined where it says nothing. */
  bytesOf(digest: Digest): number | undefined {
    return this.journal?.held.bytesOf(digest)
  }
}

/**
 * Puts an unfinished file out of the way of a new one, which takes from it what it has. It stays until
 * {@link removeEarlier}, and open.
 * @throws AirgapError `OUTPUT_UNFINISHED` where there are two and nobody knows which has what, `FILE`
 */
export async function setAside(path: string, unfinished: Unfinished): Promise<void> {
  const { partial, journal, earlier } = placesOf(path)
  const target = `${earlier}${PARTIAL_SUFFIX}`
  if (await statOwnFile(target)) {
    // Two of them: the newer one has all that it could use of the older, or nothing that is not in the older.
    if (!unfinished.journal) {
      throw new AirgapError(
        'OUTPUT_UNFINISHED',
        `${target} and ${partial} are both unfinished, and nothing says which has what`,
        {
          hint: [
            'Give one of them another name, and take blobs from it, too.',
            { id: 'reuse', file: undefined },
          ],
        },
      )
    }
    if (!unfinished.journal.held.isCopied) {
      await removeOwnFile(journal)
      return removeOwnFile(partial)
    }
    await removeOwnFile(`${target}${JOURNAL_SUFFIX}`)
  }
  try {
    await rename(partial, target)
    if (await statOwnFile(journal)) await rename(journal, `${target}${JOURNAL_SUFFIX}`)
  } catch (error) {
    throw fileError(error, 'set aside', partial)
  }
}

/** Removes what was set aside for an output, if anything was. */
export async function removeEarlier(path: string): Promise<void> {
  const earlier = `${placesOf(path).earlier}${PARTIAL_SUFFIX}`
  await removeOwnFile(`${earlier}${JOURNAL_SUFFIX}`)
  await removeOwnFile(earlier)
}

/**
 * Brings to its end what a run was killed in the middle of: naming a complete file, or setting one aside.
 * @throws AirgapError `FILE`, `OUTPUT_UNSAFE`
 */
export async function tidy(path: string): Promise<void> {
  const { partial, journal, earlier } = placesOf(path)
  const [output, unfinished, aside] = await Promise.all(
    [path, partial, `${earlier}${PARTIAL_SUFFIX}`].map(async (each) =>
      lstat(each, { bigint: true }).then(identityOf, () => undefined),
    ),
  )
  if (output && unfinished && isSameFile(output, unfinished)) {
    // It had got its name, and still has the other one.
    await unlink(partial).catch((error: unknown) => {
      throw fileError(error, 'remove', partial)
    })
  } else if (unfinished) {
    return
  }
  const opened = await openOwnFile(journal, constants.O_RDONLY)
  if (!opened) return
  let read: ReadJournal | undefined
  try {
    read = parseJournal(await readOwnFile(opened, journal, MAX_JOURNAL), await bootName())
  } catch (error) {
    // What cannot be read is told of by whoever looks for the file that it is about.
    if (!(error instanceof AirgapError)) throw error
    return
  } finally {
    await opened.handle.close()
  }
  if (!read) return removeOwnFile(journal)
  const { header, held } = read
  if (aside && isSameFile(header.file, aside)) {
    await rename(journal, `${earlier}${PARTIAL_SUFFIX}${JOURNAL_SUFFIX}`).catch((error: unknown) => {
      throw fileError(error, 'set aside', journal)
    })
  } else if (held.isComplete || (output && isSameFile(header.file, output))) {
    await removeOwnFile(journal)
    await removeEarlier(path)
  }
}

/**
 * What is said when an unfinished file cannot be gone on with.
 * @param name the unfinished file, as the user would write it.
 * @param problems each thing that differs, where that is why.
 */
export function cannotGoOn(unfinished: Unfinished, name: string, problems: Problem[]): AirgapError {
  const { partial } = unfinished.file
  const { journal } = unfinished
  const message = journal
    ? `${partial} is an unfinished bundle of other inputs, begun ${formatMoment(Date.parse(journal.header.begun))}: ${counted(journal.held.bytes)} of ${counted(journal.header.blobBytes)} bytes are there`
    : `${partial} is an unfinished bundle that cannot be gone on with: ${unfinished.reason}`
  const former = journal ? ['The former command goes on with it.'] : []
  return new AirgapError('OUTPUT_UNFINISHED', message, {
    problems,
    hint: [...former, { id: 'reuse', file: name }, { id: 'fresh' }],
  })
}

function counted(bytes: number): string {
  return bytes.toLocaleString('en-US')
}

function orphan(journal: string, partial: string): AirgapError {
  return new AirgapError('OUTPUT_UNFINISHED', `${journal} is there, and the file that it is about is not`, {
    hint: [`Put ${basename(partial)} back where it was, or start over.`, { id: 'fresh' }],
  })
}

/**
 * Whether a journal is about this file. Some file systems count their files anew each time they are mounted: when the
 * machine has been started anew, too, a file that begins as the bundle does will do.
 */
async function isAbout({ header, isSameBoot }: ReadJournal, file: OutputFile): Promise<boolean> {
  if (isSameFile(header.file, file.identity)) return true
  return !isSameBoot && file.sizeBefore === header.totalSize && (await beginsAs(header, file))
}

async function beginsAs({ bundleDigest, totalSize }: JournalHeader, file: OutputFile): Promise<boolean> {
  const start = Buffer.alloc(Math.min(3 * BLOCK, totalSize))
  await file.read(start, start.length, 0)
  try {
    const header = decodeHeader(start)
    if (header?.name !== CHECKSUMS || header.size > Math.min(MAX_CHECKSUMS, totalSize)) return false
    const checksums = Buffer.alloc(header.size)
    await file.read(checksums, checksums.length, header.headerLength)
    return digestOf(checksums) === bundleDigest
  } catch (error) {
    if (error instanceof AirgapError && error.code === 'INVALID_CONTENT') return false
    throw error
  }
}

/** What unfinished files offer. */
interface Offer {
  /** Blobs that are whole. */
  files: ReusableFile[]
  findBeginning: FindBeginning
}

/**
 * Looks at what unfinished files of ours have. One that was killed before it had its first headers has nothing.
 * @throws AirgapError `FILE`; the signal's reason.
 */
export async function offerOf(unfinished: readonly Unfinished[], signal?: AbortSignal): Promise<Offer> {
  const files: ReusableFile[] = []
  const places: { from: Unfinished; offsets: Map<Digest, number> }[] = []
  for (const from of unfinished) {
    const offsets = await offsetsIn(from.file.partial, signal)
    if (offsets.size === 0) continue
    const isWhole = (digest: Digest, size: number): boolean => (from.bytesOf(digest) ?? size) >= size
    files.push({ path: from.file.partial, isWhole })
    places.push({ from, offsets })
  }
  return {
    files,
    findBeginning: (digest) => {
      const found = places.flatMap(({ from, offsets }) => {
        const [position, offset] = [from.bytesOf(digest) ?? 0, offsets.get(digest)]
        return offset === undefined ? [] : [{ position, offset, file: from.file }]
      })
      return found.toSorted((a, b) => b.position - a.position)[0]
    },
  }
}

/** Where each blob begins. */
async function offsetsIn(path: string, signal?: AbortSignal): Promise<Map<Digest, number>> {
  await using reader = await BundleReader.open(path)
  const offsets = new Map<Digest, number>()
  try {
    for (const { name, contentOffset } of await findBlobs(reader, signal)) {
      const digest = digestOfBlobName(name)
      if (digest !== undefined) offsets.set(digest, contentOffset)
    }
  } catch (error) {
    if (!(error instanceof AirgapError) || error.code !== 'INVALID_CONTENT') throw error
  }
  return offsets
}

/** The beginning of a blob, in this file or in one that was set aside. */
export interface Beginning {
  wanted: WantedBlob
  /** Bytes that are said to be there. */
  position: number
  file: OutputFile
  /** Where in the file the blob begins. */
  offset: number
}

/** Looks among unfinished files that were set aside for the beginning of a blob. */
export type FindBeginning = (digest: Digest) => Omit<Beginning, 'wanted'> | undefined
