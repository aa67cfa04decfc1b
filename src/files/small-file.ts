import { open } from 'node:fs/promises'
import { AirgapError, fileError } from '../errors.ts'

export interface SmallFile {
  bytes: Buffer
  /** The permission bits of a regular file; undefined for other files and on Windows. */
  mode: number | undefined
}

/**
 * Reads a whole file that should be small. It may be a pipe (`<(…)`) or a link (a mounted secret), so its size is only
 * known after reading.
 * @param limit its largest allowed size, in bytes; never reads much more.
 * @param what what the file should hold, for messages: `key`, `password`.
 * @throws AirgapError `FILE`
 */
export async function readSmallFile(path: string, limit: number, what?: string): Promise<Buffer> {
  return (await readSmallFileAndMode(path, limit, what)).bytes
}

/** Like {@link readSmallFile}, with the permission bits of the very file that was read. */
export async function readSmallFileAndMode(path: string, limit: number, what?: string): Promise<SmallFile> {
  try {
    await using handle = await open(path, 'r')
    const stat = await handle.stat()
    const chunks: Buffer[] = []
    let length = 0
    for await (const chunk of handle.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>) {
      length += chunk.length
      if (length > limit) {
        throw new AirgapError(
          'FILE',
          what === undefined
            ? `cannot read ${path}: it is larger than the allowed ${limit} bytes`
            : `${path} is larger than ${limit / 1024} KiB, so it is not a ${what} file`,
        )
      }
      chunks.push(chunk)
    }
    const mode = stat.isFile() && process.platform !== 'win32' ? stat.mode & 0o777 : undefined
    return { bytes: Buffer.concat(chunks), mode }
  } catch (error) {
    throw fileError(error, what === undefined ? 'read' : `read the ${what} file`, path)
  }
}
