import { open } from 'node:fs/promises'
import { AirgapError, fileError } from '../errors.ts'

/** Keys, passwords: nothing of that kind is larger. */
export const SMALL_FILE_LIMIT = 64 * 1024

export interface SmallFile {
  bytes: Buffer
  /** The permission bits, for a regular file on a system that has them. */
  mode: number | undefined
}

/**
 * Reads a file of at most 64 KiB. Pipes (`<(…)`) and links (mounted secrets) are as good as files, so the
 * size is found by reading, never asked for.
 *
 * @param what `key`, `password`: what the file is meant to hold.
 * @throws AirgapError `FILE`
 */
export async function readSmallFile(path: string, what: string): Promise<SmallFile> {
  try {
    await using handle = await open(path, 'r')
    const stat = await handle.stat()
    const buffer = Buffer.alloc(SMALL_FILE_LIMIT + 1)
    let length = 0
    while (length < buffer.length) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length, null)
      if (bytesRead === 0) break
      length += bytesRead
    }
    if (length > SMALL_FILE_LIMIT) {
      throw new AirgapError('FILE', `${path} is larger than 64 KiB, so it is not a ${what} file`)
    }
    const mode = stat.isFile() && process.platform !== 'win32' ? stat.mode & 0o777 : undefined
    return { bytes: buffer.subarray(0, length), mode }
  } catch (error) {
    throw fileError(error, `read the ${what} file`, path)
  }
}
