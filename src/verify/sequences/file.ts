import { constants } from 'node:fs'
import { access, lstat, mkdir, open } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { AirgapError, fileError, systemCode } from '../../errors.ts'
import { withFileLock } from '../../files/file-lock.ts'
import { OutputFile } from '../../files/output-file.ts'
import { userStateFolder } from '../../registry/blobs/uploads/state/folder.ts'
import * as v from 'valibot'
import { digest, instant, keyFingerprint, wholeNumber } from '../../bundle/fields.ts'
import { canonicalJson, checkShape, compareBytes, parseStrictJson } from '../../oci/json.ts'

/** The largest state file, in bytes. */
const MAX_SEQUENCES = 4 * 1024 * 1024
const MAX_TEXT = 4096

const text = v.pipe(v.string(), v.minLength(1), v.maxLength(MAX_TEXT))

const RecordSchema = v.strictObject({
  /** The bundle's name. */
  name: text,
  signer: v.union([v.strictObject({ keyFingerprint }), v.strictObject({ identity: text, issuer: text })]),
  /** The last accepted sequence. */
  sequence: wholeNumber,
  /** The bundle digest. */
  digest,
  /** When it was pushed. */
  pushed: instant,
  /** The registry with the prefix. */
  target: text,
})

const DocumentSchema = v.strictObject({
  type: v.literal('dev.airgap.sequences'),
  formatVersion: v.literal('1.0'),
  bundles: v.array(RecordSchema),
})

/** The last accepted bundle of one name and signer. */
export type SequenceRecord = v.InferOutput<typeof RecordSchema>

/**
 * Parses a state file.
 * @throws AirgapError `FILE` if it is damaged. It is never silently replaced by an empty one.
 */
function parseSequences(bytes: Uint8Array, file: string): SequenceRecord[] {
  try {
    const { bundles } = checkShape(DocumentSchema, parseStrictJson(bytes, 'it'), 'it')
    const seen = new Set<string>()
    for (const record of bundles) {
      if (seen.has(keyOf(record))) {
        throw new AirgapError(
          'INVALID_CONTENT',
          `it lists ${JSON.stringify(record.name)} twice for one signer`,
        )
      }
      seen.add(keyOf(record))
    }
    return bundles
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    throw new AirgapError(
      'FILE',
      `${file}, which remembers the sequences of bundles, is damaged: ${error.reason}`,
      {
        hint: `Without it an older bundle would pass unnoticed, so nothing was done. Restore it from a backup; or find out what happened to it, move it away, and run the command again: airgap then starts a new one.`,
        cause: error,
      },
    )
  }
}

/** The bytes of a state file. The records are sorted, which keeps diffs small under version control. */
function serializeSequences(records: readonly SequenceRecord[]): Buffer {
  const bundles = records.toSorted((a, b) => compareBytes(keyOf(a), keyOf(b)))
  return canonicalJson({ type: 'dev.airgap.sequences', formatVersion: '1.0', bundles })
}

/** The key of a record: there is one record for each name and signer. */
export function keyOf({ name, signer }: Pick<SequenceRecord, 'name' | 'signer'>): string {
  return JSON.stringify(
    'keyFingerprint' in signer ? [name, signer.keyFingerprint] : [name, signer.identity, signer.issuer],
  )
}

const OTHERS_MAY_WRITE = 0o022

/**
 * The file that remembers sequences: one that the caller named, or the one in the user's state folder. It has to belong to
 * the current user, and nobody else may be able to write to it: they could let an old bundle pass.
 */
export class SequenceFile {
  readonly path: string
  /** In the user's state folder, which is created if it is missing, and which nobody else may write to. */
  readonly #isOwn: boolean

  private constructor(path: string, isOwn: boolean) {
    this.path = path
    this.#isOwn = isOwn
  }

  /** A file that the caller named. Its folder is neither checked nor created. */
  static at(path: string): SequenceFile {
    return new SequenceFile(resolve(path), false)
  }

  /**
   * `airgap/sequences.json` in `$XDG_STATE_HOME` or `~/.local/state` (XDG Base Directory Specification).
   * @returns undefined if there is no home folder.
   */
  static ofUser(env: NodeJS.ProcessEnv): SequenceFile | undefined {
    const folder = userStateFolder(env)
    return folder === undefined ? undefined : new SequenceFile(join(folder, 'sequences.json'), true)
  }

  /**
   * Reads the records.
   * @returns undefined if there is no such file.
   * @throws AirgapError `FILE` if it cannot be read or is damaged, `OUTPUT_UNSAFE` if it is a link, belongs to somebody
   *   else, or is writable by others.
   */
  async read(): Promise<SequenceRecord[] | undefined> {
    await this.#checkFolder()
    const bytes = await this.#bytes()
    return bytes && parseSequences(bytes, this.path)
  }

  /**
   * Checks in advance that the file can be written later.
   * @throws AirgapError `FILE`, `OUTPUT_UNSAFE`
   */
  async prepare(): Promise<void> {
    const folder = dirname(this.path)
    try {
      if (this.#isOwn) await mkdir(folder, { recursive: true, mode: 0o700 })
      await access(folder, constants.W_OK)
    } catch (error) {
      throw fileError(error, 'write to the folder', folder)
    }
    await this.#checkFolder()
  }

  /**
   * Changes the records atomically and under a lock, so that no push overwrites the records of another.
   * @param change returns the new records. If it throws, the file stays unchanged.
   * @throws AirgapError `FILE`, `OUTPUT_UNSAFE`, `DISK_FULL`
   */
  async update(
    change: (records: readonly SequenceRecord[]) => readonly SequenceRecord[],
    signal?: AbortSignal,
  ): Promise<void> {
    await this.prepare()
    await withFileLock(this.path, signal, async () => {
      const bytes = serializeSequences(change((await this.read()) ?? []))
      if (bytes.length > MAX_SEQUENCES) {
        throw new AirgapError('FILE', `${this.path} would be larger than ${MAX_SEQUENCES} bytes`, {
          hint: ['Remove records that are no longer needed, or use another file.', { id: 'state-file' }],
        })
      }
      const output = await OutputFile.reserve(this.path, { force: true, mode: 0o600 })
      try {
        await output.write(bytes, 0)
        await output.commit()
      } catch (error) {
        await output.discard()
        throw error
      }
    })
  }

  async #bytes(): Promise<Buffer | undefined> {
    try {
      // Without O_NONBLOCK, opening a pipe would wait for its writer.
      await using handle = await open(
        this.path,
        constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
      )
      const info = await handle.stat()
      if (!info.isFile()) throw this.#unsafe('it is not a regular file')
      const user = process.getuid?.()
      if (info.uid !== user)
        throw this.#unsafe(`it belongs to user ${info.uid}, but this runs as user ${user}`)
      if ((info.mode & OTHERS_MAY_WRITE) !== 0) {
        const mode = (info.mode & 0o777).toString(8).padStart(4, '0')
        throw this.#unsafe(`other users can write to it (mode ${mode})`)
      }
      if (info.nlink !== 1) throw this.#unsafe('it has another name (a hard link)')
      if (info.size > MAX_SEQUENCES)
        throw this.#unsafe(`it has ${info.size} bytes, but at most ${MAX_SEQUENCES} are allowed`)
      const buffer = Buffer.alloc(info.size)
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0)
      return buffer.subarray(0, bytesRead)
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined
      if (systemCode(error) === 'ELOOP') throw this.#unsafe('it is a symbolic link')
      throw fileError(error, 'read', this.path)
    }
  }

  async #checkFolder(): Promise<void> {
    if (!this.#isOwn) return
    const folder = dirname(this.path)
    const info = await lstat(folder).catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT') return undefined
      throw fileError(error, 'read', folder)
    })
    if (!info) return
    const isOurs = info.isDirectory() && info.uid === process.getuid?.()
    if (isOurs && (info.mode & OTHERS_MAY_WRITE) === 0) return
    throw new AirgapError('OUTPUT_UNSAFE', `${folder} is not a folder that only you can write to`, {
      hint: [
        'It holds the record of pushed bundles, which nobody else may change. Make the folder yours with mode 0700, or name another file.',
        { id: 'state-file' },
      ],
    })
  }

  #unsafe(reason: string): AirgapError {
    return new AirgapError('OUTPUT_UNSAFE', `cannot use ${this.path}, which remembers sequences: ${reason}`, {
      hint: [
        'Whoever can write to it can let an old bundle pass. Check it, and make it a regular file of yours with mode 0600 (chown, chmod); or name another one.',
        { id: 'state-file' },
      ],
    })
  }
}
