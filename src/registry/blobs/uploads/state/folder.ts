import { randomBytes } from 'node:crypto'
import { constants, existsSync } from 'node:fs'
import { type FileHandle, lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { AirgapError, fileError, systemCode } from '../../../../errors.ts'
import * as v from 'valibot'
import { isDigest } from '../../../../oci/digest.ts'
import { parseStrictJson } from '../../../../oci/json.ts'
import { isRepository } from '../../../../oci/reference.ts'

/** The most bytes of a state file, read or written. */
const MAX_STATE = 1024 * 1024
const MAX_UPLOADS = 1000
const MAX_LOCATION = 4096
const TYPE = 'dev.airgap.uploads'
/** Older uploads are not resumed: registries drop unfinished uploads sooner. */
export const MAX_AGE_MS = 7 * 24 * 3600_000

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const time = v.pipe(v.string(), v.isoTimestamp())

const Upload = v.strictObject({
  repository: v.pipe(
    v.string(),
    v.check((text) => isRepository(text)),
  ),
  digest: v.pipe(
    v.string(),
    v.check((text) => isDigest(text)),
  ),
  mode: v.picklist(['stream', 'chunks']),
  /** Absent if the upload goes to another origin than the registry's. */
  location: v.optional(v.pipe(v.string(), v.maxLength(MAX_LOCATION), v.url())),
  acknowledged: count,
  started: time,
  updated: time,
  owner: v.strictObject({
    host: v.pipe(v.string(), v.maxLength(255)),
    pid: v.pipe(count, v.minValue(1)),
    started: v.pipe(v.string(), v.regex(/^[0-9]{0,20}$/)),
    run: v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/)),
  }),
})

const Document = v.strictObject({
  type: v.literal(TYPE),
  formatVersion: v.literal('1.0'),
  uploads: v.pipe(v.array(Upload), v.maxLength(MAX_UPLOADS)),
})

/** An unfinished upload. */
export type UploadRecord = v.InferOutput<typeof Upload>

/**
 * Reads a state file's content.
 * @returns undefined where {@link formatState} cannot have written it.
 */
export function parseState(bytes: Uint8Array): UploadRecord[] | undefined {
  let value: unknown
  try {
    value = parseStrictJson(bytes, 'the state of uploads')
  } catch {
    // The details would not help, and the content may hold secrets.
    return undefined
  }
  const parsed = v.safeParse(Document, value)
  return parsed.success ? parsed.output.uploads : undefined
}

/** A state file with the newest uploads, as many as it may hold. */
export function formatState(uploads: readonly UploadRecord[]): string {
  const kept = uploads
    .filter(({ location = '' }) => location.length <= MAX_LOCATION)
    .toSorted((a, b) => (a.updated < b.updated ? 1 : -1))
    .slice(0, MAX_UPLOADS)
  for (;;) {
    const text = `${JSON.stringify({ type: TYPE, formatVersion: '1.0', uploads: kept })}\n`
    if (Buffer.byteLength(text) <= MAX_STATE) return text
    kept.length = Math.floor(kept.length / 2)
  }
}

const OTHERS_MAY_WRITE = 0o022
/** The most files of a folder that are checked for age. */
const MAX_FILES = 10_000

/**
 * The default folder for the state of uploads.
 * @returns undefined where there is no home folder.
 */
export function defaultStateFolder(env: NodeJS.ProcessEnv): string | undefined {
  const folder = userStateFolder(env)
  return folder && join(folder, 'uploads')
}

/**
 * `airgap` in the user's state folder (XDG Base Directory Specification).
 * @returns undefined where there is no home folder.
 */
export function userStateFolder(env: NodeJS.ProcessEnv): string | undefined {
  const state = env['XDG_STATE_HOME'] ?? ''
  const home = env['HOME'] ?? ''
  // The specification says to ignore a relative path.
  if (isAbsolute(state)) return join(state, 'airgap')
  // The home folder of a service often does not exist, and must not be created for this.
  const hasHome = isAbsolute(home) && existsSync(home)
  return hasHome ? join(home, '.local', 'state', 'airgap') : undefined
}

/** A folder of small files that only we use. Nothing in it is read or written through a link. */
export class StateFolder {
  readonly path: string
  #isReady = false

  constructor(path: string) {
    this.path = path
  }

  file(name: string): string {
    return join(this.path, name)
  }

  /**
   * Takes a file out of the folder. If several processes try, only one gets it.
   * @returns undefined where there is none, 'damaged' where it is not a file of ours.
   * @throws AirgapError `FILE`, `OUTPUT_UNSAFE`
   */
  async take(name: string): Promise<Buffer | 'damaged' | undefined> {
    try {
      if (!(await this.#isThere())) return undefined
      const taken = this.#temporary(name)
      if (!(await moved(this.file(name), taken))) return undefined
      try {
        return await readOwn(taken)
      } finally {
        await rm(taken, { force: true })
      }
    } catch (error) {
      throw fileError(error, 'read', this.file(name))
    }
  }

  /** Reads a file that may be replaced at any moment. Returns and throws as {@link take}. */
  async read(name: string): Promise<Buffer | 'damaged' | undefined> {
    try {
      return await readOwn(this.file(name))
    } catch (error) {
      throw fileError(error, 'read', this.file(name))
    }
  }

  /** Replaces a file atomically. */
  async write(name: string, content: string): Promise<void> {
    const temporary = this.#temporary(name)
    try {
      await this.#prepare()
      const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants
      const handle = await open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
      try {
        await handle.writeFile(content)
      } finally {
        await handle.close()
      }
      await rename(temporary, this.file(name))
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {})
      throw fileError(error, 'write', this.file(name))
    }
  }

  async remove(name: string): Promise<void> {
    await rm(this.file(name), { force: true })
  }

  /** Removes files of ours that were not written to for a week. */
  async dropOld(now: number = Date.now()): Promise<void> {
    const names = await readdir(this.path)
    for (const name of names.slice(0, MAX_FILES)) {
      if (!/^[0-9a-f]{64}\.json(?:\.[0-9a-f]{16})?$/.test(name)) continue
      const info = await lstat(this.file(name)).catch(() => undefined)
      if (info?.isFile() && now - info.mtimeMs > MAX_AGE_MS) await this.remove(name)
    }
  }

  #temporary(name: string): string {
    return `${this.file(name)}.${randomBytes(8).toString('hex')}`
  }

  async #prepare(): Promise<void> {
    if (this.#isReady) return
    await mkdir(this.path, { recursive: true, mode: 0o700 })
    await this.#isThere()
    this.#isReady = true
    await this.dropOld()
  }

  /** @throws AirgapError `OUTPUT_UNSAFE` where another user could have put something there. */
  async #isThere(): Promise<boolean> {
    const info = await lstat(this.path).catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined
      throw error
    })
    if (!info) return false
    const isOurs = info.isDirectory() && info.uid === process.getuid?.()
    if (isOurs && (info.mode & OTHERS_MAY_WRITE) === 0) return true
    throw new AirgapError('OUTPUT_UNSAFE', `${this.path} is not a folder that only you can write to`, {
      hint: 'It holds the addresses of unfinished uploads, so only you may write to it. Make it yours with mode 0700, or remove it.',
    })
  }
}

/** @returns false where another process was faster, or there was no file. */
async function moved(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to)
    return true
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}

async function readOwn(path: string): Promise<Buffer | 'damaged' | undefined> {
  let handle: FileHandle
  try {
    // Without O_NONBLOCK, opening a pipe would wait for its writer.
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    // It is a link or a socket.
    if (systemCode(error) === 'ELOOP' || systemCode(error) === 'ENXIO') return 'damaged'
    throw error
  }
  try {
    const info = await handle.stat()
    const isOurs =
      info.isFile() &&
      info.uid === process.getuid?.() &&
      info.nlink === 1 &&
      (info.mode & OTHERS_MAY_WRITE) === 0
    if (!isOurs || info.size > MAX_STATE) return 'damaged'
    const buffer = Buffer.alloc(info.size)
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await handle.close()
  }
}
