import { constants, type BigIntStats } from 'node:fs'
import { lstat, open, unlink, type FileHandle } from 'node:fs/promises'
import { basename } from 'node:path'
import { AirgapError, fileError, systemCode } from '../errors.ts'

/** Identifies a file, whatever its name. Decimal text, because inodes can exceed 2^53. */
export interface FileIdentity {
  device: string
  inode: string
}

export interface OwnFile {
  handle: FileHandle
  info: BigIntStats
}

export function identityOf({ dev, ino }: BigIntStats): FileIdentity {
  return { device: String(dev), inode: String(ino) }
}

export function isSameFile(a: FileIdentity, b: FileIdentity): boolean {
  return a.device === b.device && a.inode === b.inode
}

/**
 * Looks for a file that an earlier run left: a regular file that belongs to this user and has no other hard link.
 * @returns undefined if nothing has that name.
 * @throws AirgapError `OUTPUT_UNSAFE` for any other kind of file, `FILE`
 */
export async function statOwnFile(path: string): Promise<BigIntStats | undefined> {
  const info = await lstat(path, { bigint: true }).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined
    throw fileError(error, 'look at', path)
  })
  if (info && (!isOurs(info) || info.nlink !== 1n)) throw inTheWay(path)
  return info
}

/** Opens a file as {@link statOwnFile} finds it. Follows no link, and opens the very file that was checked. */
export async function openOwnFile(path: string, flags: number): Promise<OwnFile | undefined> {
  const found = await statOwnFile(path)
  if (!found) return undefined
  try {
    const handle = await open(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const info = await handle.stat({ bigint: true })
    if (isSameFile(identityOf(info), identityOf(found)) && isOurs(info) && info.nlink === 1n) {
      return { handle, info }
    }
    await handle.close()
  } catch (error) {
    throw fileError(error, 'open', path)
  }
  throw inTheWay(path)
}

/**
 * Reads a whole file that {@link openOwnFile} opened.
 * @param limit its largest allowed size, in bytes; never reads more.
 * @throws AirgapError `INVALID_CONTENT` if it is larger or writable by others than its owner, `FILE`
 */
export async function readOwnFile({ handle, info }: OwnFile, path: string, limit: number): Promise<Buffer> {
  if ((info.mode & GROUP_OR_OTHERS_WRITE) !== 0n) {
    throw new AirgapError('INVALID_CONTENT', 'users other than its owner can write to it')
  }
  if (info.size > BigInt(limit)) {
    throw new AirgapError('INVALID_CONTENT', `it has ${info.size} bytes, but at most ${limit} are allowed`)
  }
  const bytes = Buffer.alloc(Number(info.size))
  try {
    for (let done = 0; done < bytes.length;) {
      const { bytesRead } = await handle.read(bytes, done, bytes.length - done, done)
      if (bytesRead === 0) throw new AirgapError('INVALID_CONTENT', 'it became shorter while it was read')
      done += bytesRead
    }
  } catch (error) {
    throw fileError(error, 'read', path)
  }
  return bytes
}

/** Removes a file that an earlier run left, if there is one. */
export async function removeOwnFile(path: string): Promise<void> {
  if (!(await statOwnFile(path))) return
  await unlink(path).catch((error: unknown) => {
    throw fileError(error, 'remove', path)
  })
}

const GROUP_OR_OTHERS_WRITE = 0o022n

function isOurs(info: BigIntStats): boolean {
  return info.isFile() && info.uid === BigInt(process.getuid?.() ?? -1)
}

function inTheWay(path: string): AirgapError {
  return new AirgapError(
    'OUTPUT_UNSAFE',
    `${basename(path)} is in the way, and is not an unfinished file of airgap`,
    { hint: `Look at ${path} and move it away.` },
  )
}
