import { open } from 'node:fs/promises'
import { AirgapError, fileError } from '../errors.ts'

/**
 * Reads a file that is known to be small, whole.
 * @param limit the most that it may have, in bytes; no more is ever read.
 * @throws AirgapError `FILE`
 */
export async function readSmallFile(path: string, limit: number): Promise<Buffer> {
  try {
    const handle = await open(path, 'r')
    try {
      const chunks: Buffer[] = []
      let size = 0
      for await (const chunk of handle.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>) {
        size += chunk.length
        if (size > limit) {
          throw new AirgapError(
            'FILE',
            `cannot read ${path}: it is larger than ${limit} bytes, the most that makes sense here`,
          )
        }
        chunks.push(chunk)
      }
      return Buffer.concat(chunks)
    } finally {
      await handle.close()
    }
  } catch (error) {
    throw fileError(error, 'read', path)
  }
}
