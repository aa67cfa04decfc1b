import { constants, type Stats, type StatsFs } from 'node:fs'
import { lstat, open, realpath, stat, statfs } from 'node:fs/promises'
import { dirname, join, parse, resolve, sep } from 'node:path'
import { AirgapError, fileError, systemCode } from '../errors.ts'

/**
 * Refuses an output path that must not be overwritten or written through.
 * @param canForce whether the user has a flag to overwrite; then an error mentions it.
 * @throws AirgapError `OUTPUT_EXISTS`, `OUTPUT_UNSAFE`, `FILE`
 */
export async function checkOutput(path: string, force: boolean, canForce = true): Promise<void> {
  await checkFolder(path)
  const existing = await lstat(path).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined
    throw fileError(error, 'write', path)
  })
  if (!existing) return
  if (existing.isSymbolicLink() && !force) {
    throw new AirgapError('OUTPUT_UNSAFE', `cannot write ${path}: it is a symbolic link`, {
      hint: ['Name the file itself.', { id: 'force-link' }],
    })
  }
  if (!existing.isFile() && !existing.isSymbolicLink()) {
    throw new AirgapError('OUTPUT_UNSAFE', `cannot write ${path}: it is not a regular file`, {
      hint: 'Name a file; to write to a pipe, use -o - and redirect standard output.',
    })
  }
  if (!force) {
    throw new AirgapError('OUTPUT_EXISTS', `cannot write ${path}: it already exists`, {
      hint: ['Choose another name.', ...(canForce ? [{ id: 'force' } as const] : [])],
    })
  }
}

const STICKY = 0o1000
const WORLD_WRITABLE = 0o002

/**
 * Refuses a path through a symbolic link that somebody else put into a world-writable folder (`/tmp/x -> /etc`):
 * it could redirect our output anywhere.
 * @throws AirgapError `OUTPUT_UNSAFE`, `FILE`
 */
export async function checkFolder(path: string): Promise<void> {
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
        hint: 'Create it first, or check the spelling.',
      })
    })
    if (!info.isSymbolicLink()) continue
    const isShared = (parent.mode & WORLD_WRITABLE) !== 0
    const isOurs = info.uid === process.getuid?.()
    if (isShared && !isOurs) {
      throw new AirgapError(
        'OUTPUT_UNSAFE',
        `cannot write ${path}: ${current} is a symbolic link of another user in a shared folder`,
        { hint: `It points to ${await realpath(current).catch(() => 'nowhere')}. Name the folder itself.` },
      )
    }
    if (isShared && (parent.mode & STICKY) === 0) {
      throw new AirgapError(
        'OUTPUT_UNSAFE',
        `cannot write ${path}: ${current} is a symbolic link in a folder where anybody can replace it`,
        { hint: 'Name the folder itself.' },
      )
    }
  }
}

/** What we need to know of a file system. */
type FileSystem = Pick<StatsFs, 'type' | 'bsize' | 'blocks' | 'bavail'>

/** Linux's type for FAT12, FAT16 and FAT32 (MSDOS_SUPER_MAGIC), not exFAT. */
const FAT = 0x4d44
/** Files on FAT have to be smaller than this. Bytes. */
const FAT_LIMIT = 2 ** 32
/** The unit of `blocks` in `stat`. Bytes. */
const BLOCK_UNIT = 512

/**
 * Checks that a file of `size` bytes can be written: that the file system allows such large files, and that the part
 * that is still missing fits.
 * @param there the unfinished file, if there is one.
 * @param given the file system, for tests; by default it is looked up.
 * @throws AirgapError `DISK_FULL`, `FILE`
 */
export async function checkRoom(
  path: string,
  size: number,
  there: Stats | undefined,
  given?: FileSystem,
): Promise<void> {
  try {
    const folder = dirname(resolve(path))
    const system = given ?? (await statfs(folder))
    if (system.type === FAT && size >= FAT_LIMIT)
      throw Object.assign(new Error('too large'), { code: 'EFBIG' })
    const missing = Math.max(0, size - (there?.blocks ?? 0) * BLOCK_UNIT)
    checkFreeSpace(folder, system, missing, (there?.size ?? 0) === 0)
  } catch (error) {
    throw fileError(error, 'write', path)
  }
}

function checkFreeSpace(
  folder: string,
  { bavail, bsize, blocks }: FileSystem,
  needed: number,
  isNew: boolean,
): void {
  // Some network file systems report 0 blocks.
  if (blocks === 0) return
  const free = bavail * bsize
  if (free >= needed) return
  throw new AirgapError(
    'DISK_FULL',
    `${folder} has ${grouped(free)} bytes free, but ${grouped(needed)} are needed: ${grouped(needed - free)} bytes are missing`,
    {
      hint: isNew
        ? 'Free some space, or write to another disk with -o. Nothing has been fetched yet.'
        : 'Free some space.',
    },
  )
}

/** Syncs a folder, so that names created or removed in it survive a crash. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY)
  try {
    await handle.sync()
  } catch (error) {
    // Some file systems (and Windows) cannot sync a folder. The file itself is synced already.
    if (!['EINVAL', 'EPERM', 'EISDIR', 'ENOTSUP'].includes(systemCode(error) ?? '')) throw error
  } finally {
    await handle.close()
  }
}

function grouped(bytes: number): string {
  return bytes.toLocaleString('en-US')
}
