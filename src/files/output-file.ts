import { constants } from 'node:fs'
import { link, lstat, open, realpath, rename, stat, statfs, unlink, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join, parse, resolve, sep } from 'node:path'
import { AirgapError, fileError, systemCode } from '../errors.ts'

/** What an unfinished file is called: its final name and this. */
export const PARTIAL_SUFFIX = '.partial'

export interface OutputOptions {
  /** Replace what stands there. */
  force?: boolean
  /** Whether the user has a flag for that; then an error names it. */
  canForce?: boolean
  /** Permission bits, before the process's umask. */
  mode?: number
}

/**
 * So many bytes are given to the disk at a time, while more of them are written: a sync at the end has little left to
 * do, and a crash takes little away.
 */
const SYNC_EVERY = 128 * 1024 * 1024

/**
 * A file that appears under its name only when it is complete and synced. Until then its bytes stand beside it
 * under `NAME.partial`, which is created exclusively and never through a link.
 */
export class OutputFile {
  readonly path: string
  readonly #partial: string
  readonly #handle: FileHandle
  readonly #inode: bigint
  readonly #force: boolean
  #unsynced = 0
  #syncing: Promise<{ failure?: unknown }> | undefined

  private constructor(path: string, partial: string, handle: FileHandle, inode: bigint, force: boolean) {
    this.path = path
    this.#partial = partial
    this.#handle = handle
    this.#inode = inode
    this.#force = force
  }

  /**
   * Opens the partial file, so that whatever stands in the way is known before any work is done. What an
   * interrupted run left under the partial name is removed first.
   *
   * @throws AirgapError `OUTPUT_EXISTS`, `OUTPUT_UNSAFE`, `FILE`, `DISK_FULL`
   */
  static async reserve(name: string, options: OutputOptions = {}): Promise<OutputFile> {
    // What is checked has to be what is opened: "link/../x" is not "x" to the file system.
    const path = resolve(name)
    const force = options.force ?? false
    const partial = `${path}${PARTIAL_SUFFIX}`
    await checkOutput(path, force, options.canForce ?? true)
    try {
      await removeStale(partial)
      const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = constants
      const handle = await open(partial, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, options.mode ?? 0o666)
      const { ino } = await handle.stat({ bigint: true })
      return new OutputFile(path, partial, handle, ino, force)
    } catch (error) {
      throw fileError(error, 'write', path)
    }
  }

  /**
   * Makes room for `size` bytes, all zero.
   * @throws AirgapError `DISK_FULL` saying how much is missing.
   */
  async allocate(size: number): Promise<void> {
    try {
      await checkFreeSpace(dirname(resolve(this.path)), size)
      await this.#handle.truncate(size)
    } catch (error) {
      throw fileError(error, 'write', this.path)
    }
  }

  /** For threads that write to the same open file. */
  get fd(): number {
    return this.#handle.fd
  }

  /** Writes all of `bytes` at `position`. */
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
    if (this.#unsynced >= SYNC_EVERY && !this.#syncing) this.#syncInBackground()
  }

  #syncInBackground(): void {
    this.#unsynced = 0
    this.#syncing = this.#handle.datasync().then(
      () => {
        this.#syncing = undefined
        return {}
      },
      // Kept, so that it is told at the end: the kernel tells of bytes that it could not write just once.
      (failure: unknown) => ({ failure }),
    )
  }

  /**
   * Syncs everything to the disk and gives the file its name.
   * @param signal is heard until the file gets its name.
   */
  async commit(signal?: AbortSignal): Promise<void> {
    try {
      const synced = await this.#syncing
      if (synced && 'failure' in synced) throw synced.failure
      await this.#handle.sync()
      signal?.throwIfAborted()
      const now = await lstat(this.#partial, { bigint: true })
      if (now.ino !== this.#inode) {
        throw new AirgapError('FILE', `${this.#partial} was replaced while it was written`, {
          hint: 'Another run is writing to the same output. Run one at a time.',
        })
      }
      await this.#handle.close()
      await this.#place()
      await syncFolder(dirname(resolve(this.path)))
    } catch (error) {
      await this.discard()
      throw fileError(error, 'finish', this.path)
    }
  }

  async #place(): Promise<void> {
    if (this.#force) return rename(this.#partial, this.path)
    try {
      // Unlike rename, link fails where the name has been taken in the meantime.
      await link(this.#partial, this.path)
    } catch (error) {
      if (systemCode(error) === 'EEXIST') throw error
      // No hard links here (exFAT, FAT32, some network file systems).
      await checkOutput(this.path, false)
      return rename(this.#partial, this.path)
    }
    return unlink(this.#partial)
  }

  /**
   * Closes and removes the unfinished file. Harmless after {@link commit}.
   * @throws AirgapError `FILE` when it cannot be removed.
   */
  async discard(): Promise<void> {
    await this.#handle.close().catch(ignoreClosed)
    const now = await lstat(this.#partial, { bigint: true }).catch(() => undefined)
    if (now?.ino !== this.#inode) return
    await unlink(this.#partial).catch((error: unknown) => {
      throw fileError(error, 'remove', this.#partial)
    })
  }
}

function ignoreClosed(error: unknown): void {
  if (systemCode(error) !== 'EBADF') throw error
}

/** Refuses what must not be written over or through. */
async function checkOutput(path: string, force: boolean, canForce = true): Promise<void> {
  await checkFolder(path)
  const existing = await lstat(path).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined
    throw fileError(error, 'write', path)
  })
  if (!existing) return
  if (existing.isSymbolicLink() && !force) {
    throw new AirgapError('OUTPUT_UNSAFE', `cannot write ${path}: it is a symbolic link`, {
      hint: 'Name the file itself. With --force the link is replaced, never what it points to.',
    })
  }
  if (!existing.isFile() && !existing.isSymbolicLink()) {
    throw new AirgapError('OUTPUT_UNSAFE', `cannot write ${path}: it is not an ordinary file`, {
      hint: 'Name a file; to write to a pipe, use -o - and redirect standard output.',
    })
  }
  if (!force) {
    throw new AirgapError('OUTPUT_EXISTS', `cannot write ${path}: it exists already`, {
      hint: canForce ? 'Choose another name, or replace it with --force.' : 'Choose another name.',
    })
  }
}

const STICKY = 0o1000
const WORLD_WRITABLE = 0o002

/**
 * Refuses a path that leads through a link which somebody else has put into a folder that everybody may write
 * to (`/tmp/x -> /etc`): it would send our output wherever they like.
 */
async function checkFolder(path: string): Promise<void> {
  const folder = dirname(resolve(path))
  const { root } = parse(folder)
  let current = root
  for (const part of folder.slice(root.length).split(sep).filter(Boolean)) {
    const parent = await stat(current).catch((error: unknown) => {
      throw fileError(error, 'write', path)
    })
    current = join(current, part)
    const info = await lstat(current).catch((error: unknown) => {
      if (systemCode(error) !== 'ENOENT') throw fileError(error, 'write', path)
      throw new AirgapError('FILE', `cannot write ${path}: there is no folder ${current}`, {
        hint: 'Create it first, or look at the spelling.',
      })
    })
    if (!info.isSymbolicLink()) continue
    const isShared = (parent.mode & WORLD_WRITABLE) !== 0
    const isOurs = info.uid === process.getuid?.()
    if (isShared && !isOurs) {
      throw new AirgapError(
        'OUTPUT_UNSAFE',
        `cannot write ${path}: ${current} is somebody else's link in a shared folder`,
        { hint: `It points to ${await realpath(current).catch(() => 'nowhere')}. Name the folder itself.` },
      )
    }
    if (isShared && (parent.mode & STICKY) === 0) {
      throw new AirgapError(
        'OUTPUT_UNSAFE',
        `cannot write ${path}: ${current} is a link in a folder where everybody can replace it`,
        { hint: 'Name the folder itself.' },
      )
    }
  }
}

/** Removes what an interrupted run left behind, if it is plainly ours to remove. */
async function removeStale(partial: string): Promise<void> {
  const info = await lstat(partial).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  })
  if (!info) return
  if (!info.isFile() || info.nlink !== 1 || info.uid !== process.getuid?.()) {
    throw new AirgapError(
      'OUTPUT_UNSAFE',
      `${basename(partial)} is in the way and is not an unfinished file of ours`,
      {
        hint: `Look at ${partial} and move it away.`,
      },
    )
  }
  await unlink(partial)
}

async function checkFreeSpace(folder: string, needed: number): Promise<void> {
  const { bavail, bsize, blocks } = await statfs(folder)
  // Some network file systems do not say.
  if (blocks === 0) return
  const free = bavail * bsize
  if (free >= needed) return
  throw new AirgapError(
    'DISK_FULL',
    `${folder} has ${free} bytes free, and ${needed} are needed: ${needed - free} are missing`,
    { hint: 'Free some space, or write to another disk with -o. Nothing has been fetched yet.' },
  )
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY)
  try {
    await handle.sync()
  } catch (error) {
    // Some file systems (and Windows) cannot sync a folder; the file itself is synced.
    if (!['EINVAL', 'EPERM', 'EISDIR', 'ENOTSUP'].includes(systemCode(error) ?? '')) throw error
  } finally {
    await handle.close()
  }
}
