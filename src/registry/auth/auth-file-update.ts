import { constants } from 'node:fs'
import { access, lstat, mkdir, readlink, realpath } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { AirgapError, fileError, systemCode } from '../../errors.ts'
import { withFileLock } from '../../files/file-lock.ts'
import { OutputFile } from '../../files/output-file.ts'
import { editFault } from './auth-file-edit.ts'
import { damaged, readAuthFile, type AuthFile } from './auth-file.ts'

const MAX_LINKS = 10
/** How often the change is made anew because a program without our lock, such as Docker, has changed the file. */
const ATTEMPTS = 5

export interface UpdateOptions {
  /** Create the folder (0700) where there is none. */
  createFolder: boolean
  signal?: AbortSignal | undefined
}

/**
 * Reads a credentials file that is going to be changed, and finds out whether it can be.
 * @returns undefined where there is none yet.
 * @throws AirgapError `CREDENTIALS` when it is damaged, `OUTPUT_UNSAFE` when it, or a link that leads to it, is
 *   somebody else's, `FILE` when it cannot be read or its folder cannot be written to.
 */
export async function readForUpdate(path: string, createFolder: boolean): Promise<AuthFile | undefined> {
  const target = await targetOf(path)
  const file = await readEditable(target)
  try {
    await access(dirname(target), constants.W_OK)
  } catch (error) {
    if (createFolder && systemCode(error) === 'ENOENT') return file
    throw fileError(error, 'write to the folder', dirname(target))
  }
  return file
}

/**
 * Changes the text of a credentials file: under a lock, atomically, with mode 0600. A symbolic link that is the
 * user's own, as those who keep their configuration under version control have it, stays one; what it points to is
 * changed.
 * @param edit from the file's text, empty where there is none, to the new text; called again when another program
 *   has changed the file in the meantime. The same text means that nothing is written.
 * @throws AirgapError as {@link readForUpdate}; `DISK_FULL`, `INTERRUPTED`.
 */
export async function updateAuthFile(
  path: string,
  edit: (text: string) => string,
  { createFolder, signal }: UpdateOptions,
): Promise<void> {
  const target = await targetOf(path)
  if (createFolder) {
    await mkdir(dirname(target), { recursive: true, mode: 0o700 }).catch((error: unknown) => {
      throw fileError(error, 'create the folder', dirname(target))
    })
  }
  await withFileLock(target, signal, async () => {
    for (let attempt = 1; !(await changeOnce(target, edit)); attempt++) {
      if (attempt === ATTEMPTS) {
        throw new AirgapError('FILE', `cannot change ${path}: another program keeps changing it`, {
          hint: 'Run the same command again.',
        })
      }
    }
  })
}

/** @returns false when the file was changed by somebody else while we were at it; nothing is written then. */
async function changeOnce(target: string, edit: (text: string) => string): Promise<boolean> {
  const before = await versionOf(target)
  const text = (await readEditable(target))?.text ?? ''
  const edited = edit(text)
  if (edited === text) return true
  const output = await OutputFile.reserve(target, { force: true, mode: 0o600 })
  try {
    await output.write(Buffer.from(edited), 0)
    if ((await versionOf(target)) !== before) {
      await output.discard()
      return false
    }
    await output.commit()
    return true
  } catch (error) {
    await output.discard()
    throw error
  }
}

async function readEditable(target: string): Promise<AuthFile | undefined> {
  const file = await readAuthFile(target, false)
  const fault = file && editFault(file.text)
  if (fault !== undefined) throw damaged(target, fault)
  return file
}

/** What tells one state of a file from another; undefined where there is none. */
async function versionOf(path: string): Promise<string | undefined> {
  try {
    const { ino, size, mtimeNs, ctimeNs } = await lstat(path, { bigint: true })
    return [ino, size, mtimeNs, ctimeNs].join(' ')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw fileError(error, 'read', path)
  }
}

/** The file itself, behind links of the user's own (or root's). It need not exist, unless a link says so. */
async function targetOf(path: string): Promise<string> {
  let current = resolve(path)
  for (let links = 0; links <= MAX_LINKS; links++) {
    const info = await lstat(current).catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined
      throw fileError(error, 'read the credentials file', current)
    })
    if (info === undefined && links > 0) {
      throw new AirgapError(
        'OUTPUT_UNSAFE',
        `cannot write ${path}: it is a link to ${current}, which is not there`,
        {
          hint: 'Create the file that the link points to (it may be empty), or remove the link.',
        },
      )
    }
    if (info === undefined) return current
    const uid = process.getuid?.() ?? info.uid
    if (info.uid !== uid && !(info.isSymbolicLink() && info.uid === 0)) {
      const what = info.isSymbolicLink() ? `the link ${current}` : links === 0 ? 'it' : current
      throw new AirgapError(
        'OUTPUT_UNSAFE',
        `cannot write ${path}: ${what} belongs to user ${info.uid}, and this runs as user ${uid}`,
        { hint: 'Run the command as that user (without sudo), or name a file of your own with --auth-file.' },
      )
    }
    if (info.isFile()) return current
    if (!info.isSymbolicLink()) {
      throw new AirgapError('OUTPUT_UNSAFE', `cannot write ${path}: it is not an ordinary file`)
    }
    current = resolve(await realpath(dirname(current)), await readlink(current))
  }
  throw new AirgapError('OUTPUT_UNSAFE', `cannot write ${path}: more than ${MAX_LINKS} links lead to it`)
}
