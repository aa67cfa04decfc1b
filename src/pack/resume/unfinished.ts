import { constants } from 'node:fs'
import { lstat, rename, unlink, type FileHandle } from 'node:fs/promises'
import { basename } from 'node:path'
import { AirgapError, fileError, messageOf, systemCode, type Problem } from '../../errors.ts'
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
import { formatMoment } from '../../bytes.ts'

/** An unfinished file that was set aside for another run to use has the output's name, this, and `.partial`. */
const EARLIER = '.earlier'

/** The paths that belong to an output. */
export function placesOf(path: string): { partial: string; journal: string; earlier: string } {
  const partial = `${path}${PARTIAL_SUFFIX}`
  return { partial, journal: `${partial}${JOURNAL_SUFFIX}`, earlier: `${path}${EARLIER}` }
}

/** An unfinished file that was found, opened. */
export class Unfinished {
  readonly file: OutputFile
  /** Undefined if there is none that can be trusted. */
  readonly journal: ReadJournal | undefined
  /** Why there is no journal. */
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
   * Looks for the unfinished file of an interrupted run. An empty one is removed.
   * @param path of the finished file, absolute.
   * @param options `fresh` says that it is not wanted: then a journal without its file is removed.
   * @returns undefined if there is no unfinished file.
   * @throws AirgapError `OUTPUT_UNSAFE` if the file may not be ours, `FILE`; `OUTPUT_UNFINISHED` for a journal without its
   *   file.
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
        return file && new Unfinished(file, { reason: `there is no journal next to it` })
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

  /** Resumes the journal. The file and the journal then belong to the caller. */
  async goOn(): Promise<Journal> {
    if (!this.journal || !this.#handle) throw new AirgapError('INTERNAL', 'there is no journal to resume')
    return Journal.goOn(`${this.file.partial}${JOURNAL_SUFFIX}`, this.#handle, this.journal)
  }

  /** Closes the files and leaves them as they are. May be called again. */
  async close(): Promise<void> {
    await this.#handle?.close().catch((error: unknown) => {
      if (systemCode(error) !== 'EBADF') throw error
    })
    await this.file.close()
  }

  /** Removes the file and its journal. */
  async remove(): Promise<void> {
    await this.close()
    await removeOwnFile(`${this.file.partial}${JOURNAL_SUFFIX}`)
    await this.file.discard()
  }

  /** Bytes of a blob that are there according to the journal; undefined if there is no journal. */
  bytesOf(digest: Digest): number | undefined {
    return this.journal?.held.bytesOf(digest)
  }
}

/**
 * Renames an unfinished file, so that a new one can be written, which takes its blobs. It stays open, and is kept until
 * {@link removeEarlier}.
 * @throws AirgapError `OUTPUT_UNFINISHED` if there are two, and it is unknown which has what; `FILE`
 */
export async function setAside(path: string, unfinished: Unfinished): Promise<void> {
  const { partial, journal, earlier } = placesOf(path)
  const target = `${earlier}${PARTIAL_SUFFIX}`
  if (await statOwnFile(target)) {
    // There are two. The newer one has all that it needs of the older if it `isCopied`; else it has nothing of its own.
    if (!unfinished.journal) {
      throw new AirgapError(
        'OUTPUT_UNFINISHED',
        `${target} and ${partial} are both unfinished, and it is unknown which has what`,
        {
          hint: ['Rename one of them, and reuse its blobs, too.', { id: 'reuse', file: undefined }],
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

/** Removes what was set aside for an output. */
export async function removeEarlier(path: string): Promise<void> {
  const earlier = `${placesOf(path).earlier}${PARTIAL_SUFFIX}`
  await removeOwnFile(`${earlier}${JOURNAL_SUFFIX}`)
  await removeOwnFile(earlier)
}

/**
 * Completes what a killed run had begun: naming a complete file, or setting one aside.
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
    // The file has its name, but still has the other one, too.
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
    // `Unfinished.find` reports a journal that cannot be read.
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
 * The error for an unfinished file that cannot be resumed.
 * @param name the unfinished file, as the user would write it.
 * @param problems what differs, if that is the reason.
 */
export function cannotGoOn(unfinished: Unfinished, name: string, problems: Problem[]): AirgapError {
  const { partial } = unfinished.file
  const { journal } = unfinished
  const message = journal
    ? `${partial} is an unfinished bundle with other inputs, begun ${formatMoment(Date.parse(journal.header.begun))}: ${counted(journal.held.bytes)} of ${counted(journal.header.blobBytes)} bytes are there`
    : `${partial} is an unfinished bundle that cannot be resumed: ${unfinished.reason}`
  const former = journal ? ['The earlier command resumes it.'] : []
  return new AirgapError('OUTPUT_UNFINISHED', message, {
    problems,
    hint: [...former, { id: 'reuse', file: name }, { id: 'fresh' }],
  })
}

function counted(bytes: number): string {
  return bytes.toLocaleString('en-US')
}

function orphan(journal: string, partial: string): AirgapError {
  return new AirgapError('OUTPUT_UNFINISHED', `${journal} exists, but the file that it is about does not`, {
    hint: [`Put ${basename(partial)} back where it was, or start over.`, { id: 'fresh' }],
  })
}

/**
 * Whether a journal is about this file. Some file systems give files new inode numbers when they are mounted. So if the
 * machine was rebooted, it is enough that the file begins like the bundle.
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
  /** For whole blobs. */
  files: ReusableFile[]
  findBeginning: FindBeginning
}

/**
 * Finds the blobs in unfinished files. A file without its first headers has none.
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

/** The offset of each blob. */
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
  /** Bytes that are there according to the journal. */
  position: number
  file: OutputFile
  /** Where in the file the blob begins. */
  offset: number
}

/** Finds the longest beginning of a blob in unfinished files that were set aside. */
export type FindBeginning = (digest: Digest) => Omit<Beginning, 'wanted'> | undefined
