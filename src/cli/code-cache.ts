import { lstatSync, mkdirSync, realpathSync } from 'node:fs'
import { enableCompileCache, getCompileCacheDir } from 'node:module'
import { dirname, isAbsolute, join, parse } from 'node:path'
import { isSea } from 'node:sea'
import { TOOL } from '../own-files.ts'

/**
 * Keeps V8's compiled code for the next start. V8 runs what it finds there, so the folder must be one that nobody else can
 * write to; without one there is no cache. Node adds a folder for its own version.
 */
export function keepCompiledCode(): void {
  // The single executable contains its own. NODE_COMPILE_CACHE names another folder.
  if (isSea() || process.env.NODE_DISABLE_COMPILE_CACHE || getCompileCacheDir() !== undefined) return
  const folder = codeCacheFolder(process.env, process.geteuid?.())
  if (folder !== undefined) enableCompileCache(folder)
}

/**
 * The folder for compiled code, below the user's cache folder. Makes it if it is missing.
 *
 * @param user this process's user; undefined on systems without user numbers.
 * @returns undefined if others could put files into it, or if it cannot be made.
 */
export function codeCacheFolder(env: NodeJS.ProcessEnv, user: number | undefined): string | undefined {
  // Relative paths must be ignored (XDG Base Directory Specification).
  const set = [env.XDG_CACHE_HOME, env.HOME && join(env.HOME, '.cache')]
  const caches = set.find((path) => path !== undefined && isAbsolute(path))
  if (user === undefined || caches === undefined) return undefined
  try {
    // Make nothing in somebody else's folder: root may run with the HOME of a user.
    if (!isKeptFromOthers(realpathSync(dirname(caches)), user)) return undefined
    make(caches)
    const ours = join(realpathSync(caches), TOOL.name)
    if (!isKeptFromOthers(dirname(ours), user)) return undefined
    make(ours)
    const folder = join(ours, `code-${TOOL.version}`)
    if (!isKeptFromOthers(ours, user)) return undefined
    make(folder)
    return isPrivate(folder, user) ? folder : undefined
  } catch {
    return undefined
  }
}

function make(folder: string): void {
  try {
    mkdirSync(folder, 0o700)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

/** Whether nobody else can enter it. What Node makes inside has the modes of the user's umask. */
function isPrivate(folder: string, user: number): boolean {
  const { mode, uid, isFolder } = look(folder)
  return isFolder && uid === user && (mode & 0o077) === 0
}

/** Whether only the user and root can replace this folder, or one above it. */
function isKeptFromOthers(folder: string, user: number): boolean {
  const { mode, uid, isFolder } = look(folder)
  // In a sticky folder such as /tmp, users can rename only their own files.
  const isOpen = (mode & 0o022) !== 0 && (mode & 0o1000) === 0
  if (!isFolder || isOpen || (uid !== user && uid !== 0)) return false
  return folder === parse(folder).root || isKeptFromOthers(dirname(folder), user)
}

/** A symbolic link does not count as a folder. */
function look(path: string): { mode: number; uid: number; isFolder: boolean } {
  const stats = lstatSync(path)
  return { mode: stats.mode, uid: stats.uid, isFolder: stats.isDirectory() }
}
