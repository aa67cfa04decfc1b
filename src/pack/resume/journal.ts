import { constants } from 'node:fs'
import { lstat, open, unlink, type FileHandle } from 'node:fs/promises'
import { fileError } from '../../errors.ts'
import { identityOf, isSameFile, type FileIdentity } from '../../files/own-file.ts'
import type { Digest } from '../../oci/digest.ts'
import {
  bootName,
  encodeLine,
  HeldBlobs,
  type JournalHeader,
  type JournalRecord,
  type ReadJournal,
} from './format.ts'

/** How many bytes of a blob make a record; more for large blobs, so that none has more than a few thousand records. */
const STEP = 1024 * 1024
const MOST_STEPS = 4096

/**
 * The journal of an unfinished bundle, open for writing. Records are appended in the background and not synced: the kernel
 * keeps them if the process is killed, and after a crash of the machine, records after the last sync are of no use.
 */
export class Journal {
  readonly header: JournalHeader
  readonly held: HeldBlobs
  /** Whether this run has fetched anything, or everything is there. */
  isWorthKeeping = false
  readonly #path: string
  readonly #handle: FileHandle
  readonly #identity: FileIdentity
  #queue: Buffer[] = []
  #writing: Promise<void> | undefined
  #failure: { error: unknown } | undefined
  #isClosed = false

  private constructor(
    path: string,
    handle: FileHandle,
    identity: FileIdentity,
    header: JournalHeader,
    held: HeldBlobs,
  ) {
    this.#path = path
    this.#handle = handle
    this.#identity = identity
    this.header = header
    this.held = held
  }

  /**
   * Creates a journal. When this returns, its header is on the disk.
   * @throws AirgapError `OUTPUT_EXISTS` if there is one, `FILE`, `DISK_FULL`
   */
  static async create(path: string, header: JournalHeader): Promise<Journal> {
    const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_APPEND } = constants
    try {
      const handle = await open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_APPEND, 0o600)
      const identity = identityOf(await handle.stat({ bigint: true }))
      const journal = new Journal(path, handle, identity, header, new HeldBlobs())
      try {
        journal.#queue.push(encodeLine(header))
        journal.append({ run: await bootName() })
        await journal.flush()
        await handle.datasync()
        return journal
      } catch (error) {
        await journal.remove()
        throw error
      }
    } catch (error) {
      throw fileError(error, 'write', path)
    }
  }

  /**
   * Resumes a journal. What follows its last complete line is cut off.
   * @param handle opened for appending; the journal closes it.
   * @throws AirgapError `FILE`, `DISK_FULL`
   */
  static async goOn(path: string, handle: FileHandle, read: ReadJournal): Promise<Journal> {
    try {
      await handle.truncate(read.length)
      const identity = identityOf(await handle.stat({ bigint: true }))
      const journal = new Journal(path, handle, identity, read.header, read.held)
      journal.append({ run: await bootName() })
      return journal
    } catch (error) {
      throw fileError(error, 'write', path)
    }
  }

  append(record: JournalRecord): void {
    this.held.apply(record)
    this.#queue.push(encodeLine(record))
    this.#writing ??= this.#write()
  }

  /**
   * Records that so many bytes of a blob are written, unless that is only a little more than the last record says.
   * @param size bytes of the whole blob.
   * @throws AirgapError `FILE`, `DISK_FULL` if the journal cannot be written.
   */
  written(blob: Digest, bytes: number, size: number): void {
    if (this.#failure) throw fileError(this.#failure.error, 'write', this.#path)
    const known = this.held.bytesOf(blob)
    if (bytes - known >= Math.max(STEP, size / MOST_STEPS)) this.append({ blob, written: bytes })
  }

  /** Records how many bytes of a blob are valid, which may be less than before. */
  settled(blob: Digest, bytes: number): void {
    if (bytes !== this.held.bytesOf(blob)) this.append({ blob, written: bytes })
  }

  /** For {@link OutputFile.onSync}. */
  readonly syncing = (): (() => void) => {
    const { count } = this.held
    return () => this.append({ synced: count })
  }

  /** Waits until all records are written. */
  async flush(): Promise<void> {
    await this.#writing
    if (this.#failure) throw fileError(this.#failure.error, 'write', this.#path)
  }

  /** Leaves the journal for a later run, which can also use an incomplete one. May be called again. */
  async close(): Promise<void> {
    await this.#writing
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#handle.close()
  }

  async remove(): Promise<void> {
    await this.close()
    const now = await lstat(this.#path, { bigint: true }).catch(() => undefined)
    if (!now || !isSameFile(identityOf(now), this.#identity)) return
    await unlink(this.#path).catch((error: unknown) => {
      throw fileError(error, 'remove', this.#path)
    })
  }

  async #write(): Promise<void> {
    try {
      // Waits for what else is appended in this turn. What is appended later goes with the next write.
      await Promise.resolve()
      while (this.#queue.length > 0 && !this.#failure) {
        const bytes = Buffer.concat(this.#queue.splice(0))
        for (let done = 0; done < bytes.length;) {
          done += (await this.#handle.write(bytes, done, bytes.length - done, null)).bytesWritten
        }
      }
    } catch (error) {
      // The next call throws it. An incomplete line at the end does no harm.
      this.#failure = { error }
    } finally {
      this.#writing = undefined
    }
  }
}
