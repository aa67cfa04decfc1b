import { constants } from 'node:fs'
import { link, lstat, open, rename, unlink, type FileHandle } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { AirgapError, fileError, systemCode } from '../errors.ts'
import { shellWord } from '../text.ts'
import { checkOutput, checkRoom, syncFolder } from './output-checks.ts'
import { identityOf, isSameFile, openOwnFile, statOwnFile, type FileIdentity } from './own-file.ts'

/** An unfinished file has its final name with this suffix. */
export const PARTIAL_SUFFIX = '.partial'

/** The journal beside an unfinished file, which records how far it is, has this suffix. */
export const JOURNAL_SUFFIX = '.journal'

export interface OutputOptions {
  /** Replace an existing file. */
  force?: boolean
  /** Whether the user has a flag for that; then an error mentions it. */
  canForce?: boolean
  /** Permission bits, before the process's umask. */
  mode?: number
}

/**
 * Bytes after which a sync starts in the background, so that the sync at the end has little left to do and a crash
 * loses little.
 */
const SYNC_EVERY = 128 * 1024 * 1024
/** On a slow connection, sync as often as the kernel does by default. */
const SYNC_AFTER_MS = 30_000

/** The unfinished files that this process has open, so that it does not take them for those of an interrupted run. */
const inUse = new Set<string>()

/** Bytes to read at a time. */
const CHUNK = 1024 * 1024

/**
 * A file that appears under its name only when it is complete and synced. Until then it is `NAME.partial`, which is
 * created exclusively and never through a link.
 */
export class OutputFile {
  readonly path: string
  /** The unfinished file. */
  readonly partial: string
  readonly identity: FileIdentity
  /** The size of the unfinished file that an earlier run left, in bytes; 0 for a new file. */
  readonly sizeBefore: number
  /** Called when a sync begins. What it returns is called when everything written before that is on the disk. */
  onSync: (() => () => void) | undefined
  readonly #handle: FileHandle
  readonly #force: boolean
  #unsynced = 0
  #lastSync = performance.now()
  #syncing: Promise<void> | undefined
  #failure: { error: unknown } | undefined

  private constructor(
    path: string,
    handle: FileHandle,
    { identity, size, force }: { identity: FileIdentity; size: bigint; force: boolean },
  ) {
    this.path = path
    this.partial = `${path}${PARTIAL_SUFFIX}`
    this.#handle = handle
    this.identity = identity
    this.sizeBefore = Number(size)
    this.#force = force
    inUse.add(nameOf(identity))
  }

  /**
   * Creates the partial file, so that a conflict is found before any work is done. A partial file of an interrupted run
   * is removed first, unless it has a journal, which means that a pack can resume from it.
   *
   * @throws AirgapError `OUTPUT_EXISTS`, `OUTPUT_UNSAFE`, `OUTPUT_UNFINISHED`, `FILE`, `DISK_FULL`
   */
  static async reserve(name: string, options: OutputOptions = {}): Promise<OutputFile> {
    // Check the same path that is opened: to the file system, "link/../x" is not "x".
    const path = resolve(name)
    const force = options.force ?? false
    const partial = `${path}${PARTIAL_SUFFIX}`
    await checkOutput(path, force, options.canForce ?? true)
    try {
      await removeStale(path, partial)
      const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = constants
      const handle = await open(partial, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, options.mode ?? 0o666)
      const info = await handle.stat({ bigint: true })
      return new OutputFile(path, handle, { identity: identityOf(info), size: 0n, force })
    } catch (error) {
      throw fileError(error, 'write', path)
    }
  }

  /**
   * Opens the partial file that an interrupted run left, with its contents.
   * @param path absolute.
   * @returns undefined if there is none.
   * @throws AirgapError `OUTPUT_UNSAFE` if it is not clearly ours, `FILE`
   */
  static async reopen(path: string, { force }: { force: boolean }): Promise<OutputFile | undefined> {
    const found = await openOwnFile(`${path}${PARTIAL_SUFFIX}`, constants.O_RDWR)
    if (!found) return undefined
    const { handle, info } = found
    return new OutputFile(path, handle, { identity: identityOf(info), size: info.size, force })
  }

  /**
   * Sets the file's size to `size` bytes. What is written already stays, the rest is zeros.
   * @throws AirgapError `DISK_FULL`, which says how much space is missing.
   */
  async allocate(size: number): Promise<void> {
    try {
      await checkRoom(this.path, size, await this.#handle.stat())
      await this.#handle.truncate(size)
    } catch (error) {
      throw fileError(error, 'write', this.path)
    }
  }

  /** For threads that read or write the same open file. */
  get fd(): number {
    return this.#handle.fd
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    let done = 0
    try {
      while (done < bytes.length) {
        const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, position + done)
        done += bytesWritten
      }
    } catch (error) {
      throw fileError(error, 'write', this.path)
    }
    this.#unsynced += bytes.length
    const isDue =
      this.#unsynced >= SYNC_EVERY ||
      (this.#unsynced > 0 && performance.now() - this.#lastSync >= SYNC_AFTER_MS)
    if (isDue) this.syncSoon()
  }

  /** Reads `length` bytes at `position` into the beginning of `target`. */
  async read(target: Uint8Array, length: number, position: number): Promise<void> {
    try {
      for (let done = 0; done < length;) {
        const { bytesRead } = await this.#handle.read(target, done, length - done, position + done)
        if (bytesRead === 0) throw new AirgapError('FILE', `${this.partial} became shorter while it was read`)
        done += bytesRead
      }
    } catch (error) {
      throw fileError(error, 'read', this.partial)
    }
  }

  /** Reads back what was written in that range, in chunks. */
  async *stream({
    contentOffset,
    size,
  }: {
    contentOffset: number
    size: number
  }): AsyncGenerator<Buffer, void, undefined> {
    for (let done = 0; done < size; done += CHUNK) {
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK, size - done))
      await this.read(chunk, chunk.length, contentOffset + done)
      yield chunk
    }
  }

  /** Starts a sync without waiting for it. */
  syncSoon(): void {
    if (this.#syncing || this.#failure) return
    // `sync` and `commit` report the failure.
    this.#syncing = this.#sync().catch(() => {})
  }

  /** Syncs everything to the disk and waits for it. */
  async sync(): Promise<void> {
    await this.#syncing
    await this.#sync().catch((error: unknown) => {
      throw fileError(error, 'write', this.path)
    })
  }

  /**
   * Checks what can be checked before {@link commit}: syncs everything to the disk, and checks that the name is still
   * available.
   * @throws AirgapError as `commit`
   */
  async settle(): Promise<void> {
    await this.sync()
    await this.#checkPartial()
    await checkOutput(this.path, this.#force)
  }

  async #sync(): Promise<void> {
    if (this.#failure) throw this.#failure.error
    this.#unsynced = 0
    this.#lastSync = performance.now()
    const isSynced = this.onSync?.()
    try {
      await this.#handle.datasync()
      isSynced?.()
    } catch (error) {
      // Remember it: the kernel reports a failed write only once.
      this.#failure = { error }
      throw error
    } finally {
      this.#syncing = undefined
    }
  }

  /**
   * Syncs everything to the disk and gives the file its name.
   * @param signal can abort this until the file gets its name.
   * @param options `keep` leaves the unfinished file after a failure. `beforeNaming` is called when everything is on
   *   the disk.
   */
  async commit(
    signal?: AbortSignal,
    options: { keep?: boolean; beforeNaming?: () => Promise<void> } = {},
  ): Promise<void> {
    try {
      await this.#syncing
      await this.#sync()
      signal?.throwIfAborted()
      await this.#checkPartial()
      await options.beforeNaming?.()
      await this.#place()
      await this.close()
      await syncFolder(dirname(this.path))
    } catch (error) {
      if (!options.keep) await this.discard()
      throw fileError(error, 'finish', this.path)
    }
  }

  async #checkPartial(): Promise<void> {
    const now = await lstat(this.partial, { bigint: true })
    if (isSameFile(identityOf(now), this.identity)) return
    throw new AirgapError('FILE', `${this.partial} was replaced while it was written`, {
      hint: 'Another run is writing to the same output. Run only one at a time.',
    })
  }

  async #place(): Promise<void> {
    if (this.#force) return rename(this.partial, this.path)
    try {
      // Unlike rename, link fails if the name has been taken in the meantime.
      await link(this.partial, this.path)
    } catch (error) {
      if (systemCode(error) === 'EEXIST') throw error
      // No hard links here (exFAT, FAT32, some network file systems).
      await checkOutput(this.path, false)
      return rename(this.partial, this.path)
    }
    return unlink(this.partial)
  }

  /**
   * Closes the unfinished file and leaves it in place, so that a later run can resume from it.
   * @returns whether everything that was written is on the disk.
   */
  async keep(): Promise<boolean> {
    await this.#syncing
    // The error that ended the run is reported elsewhere; here only the outcome counts.
    const isSafe = await this.#sync().then(
      () => true,
      () => false,
    )
    await this.close()
    return isSafe
  }

  /** Closes the unfinished file without changing it. Harmless if it is closed already. */
  async close(): Promise<void> {
    await this.#syncing
    await this.#handle.close().catch(ignoreClosed)
    inUse.delete(nameOf(this.identity))
  }

  /**
   * Closes and removes the unfinished file. Harmless after {@link commit}.
   * @throws AirgapError `FILE` when it cannot be removed.
   */
  async discard(): Promise<void> {
    await this.close()
    const now = await lstat(this.partial, { bigint: true }).catch(() => undefined)
    if (!now || !isSameFile(identityOf(now), this.identity)) return
    await unlink(this.partial).catch((error: unknown) => {
      throw fileError(error, 'remove', this.partial)
    })
  }
}

function nameOf({ device, inode }: FileIdentity): string {
  return `${device} ${inode}`
}

function ignoreClosed(error: unknown): void {
  if (systemCode(error) !== 'EBADF') throw error
}

/** Removes the partial file of an interrupted run, if it is clearly ours. */
async function removeStale(path: string, partial: string): Promise<void> {
  const there = await statOwnFile(partial)
  if (!there) return
  if (inUse.has(nameOf(identityOf(there)))) {
    throw new AirgapError(
      'OUTPUT_EXISTS',
      `cannot write ${path}: this run already writes another file there`,
      {
        hint: 'Give each output file its own name.',
      },
    )
  }
  const journal = await lstat(`${partial}${JOURNAL_SUFFIX}`).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  })
  if (journal) {
    throw new AirgapError('OUTPUT_UNFINISHED', `${partial} is an unfinished bundle`, {
      hint: `Choose another name. If nobody needs the unfinished bundle: rm ${shellWord(partial)} ${shellWord(`${partial}${JOURNAL_SUFFIX}`)}`,
    })
  }
  await unlink(partial)
}
