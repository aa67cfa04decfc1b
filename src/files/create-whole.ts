import { randomBytes } from 'node:crypto'
import { link, open, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { fileError, systemCode } from '../errors.ts'

/** What file systems without hard links answer (FAT, some network file systems). */
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'])

/**
 * Creates `path` with its contents in one step: writes a temporary file beside it, then links that to the name.
 * Unlike a rename, a link fails if the name is taken, even by a dangling symbolic link. Without hard links, the file
 * is created exclusively under its own name and removed again if writing fails.
 *
 * @param makeLink like `link` of node:fs/promises; tests replace it.
 * @throws AirgapError `OUTPUT_EXISTS`, `FILE`, `DISK_FULL`
 */
export async function createWhole(
  path: string,
  contents: string,
  mode: number,
  makeLink: (from: string, to: string) => Promise<void> = link,
): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`)
  try {
    await writeNew(temporary, contents, mode)
    try {
      await makeLink(temporary, path)
    } catch (error) {
      if (!NO_LINKS.has(systemCode(error) ?? '')) throw error
      await writeNew(path, contents, mode)
    } finally {
      await removeFile(temporary)
    }
  } catch (error) {
    throw fileError(error, 'create', path)
  }
}

async function writeNew(path: string, contents: string, mode: number): Promise<void> {
  const handle = await open(path, 'wx', mode)
  try {
    await handle.writeFile(contents)
    await handle.sync()
    await handle.close()
  } catch (error) {
    await handle.close().catch(() => undefined)
    await removeFile(path)
    throw error
  }
}

/** @throws AirgapError `FILE` */
export async function removeFile(path: string): Promise<void> {
  try {
    await rm(path)
  } catch (error) {
    throw fileError(error, 'remove', path)
  }
}
