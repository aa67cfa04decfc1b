import { randomBytes } from 'node:crypto'
import { link, open, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { fileError, systemCode } from '../errors.ts'

/** File systems without hard links answer one of these (FAT, some network file systems). */
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'])

/**
 * Creates `path` with its contents in one step: written beside it, then linked to its name, which unlike a
 * rename fails when the name is taken, be it by a link that points nowhere. Where there are no hard links
 * the file is created exclusively under its own name and removed again if writing fails.
 *
 * @param makeLink as `link` of node:fs/promises.
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
