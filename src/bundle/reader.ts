import { constants, type BigIntStats } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { AirgapError, fileError, messageOf, type Problem } from '../errors.ts'
import {
  CHECKSUMS,
  MAX_CHECKSUMS,
  MAX_RAW_SIGNATURE,
  MAX_SIGSTORE_SIGNATURE,
  RAW_SIGNATURE,
  SIGSTORE_SIGNATURE,
} from './names.ts'
import { BLOCK, decodeHeader, END_SIZE, isPartOfHeader, isZero, paddingLength } from './tar.ts'

/** An entry of the archive, with the place of its content. Bytes. */
export interface BundleEntry {
  name: string
  size: number
  contentOffset: number
}

/** The first entries: the signed checksums, and the signatures. */
export interface BundleHead {
  checksums: Buffer
  sigstore?: Buffer | undefined
  raw?: Buffer | undefined
}

const LONGEST_HEADER = 3 * BLOCK
const CHUNK = 1024 * 1024
/** How many bytes to look at, at either end, to see whether the rest of a file is zeros. */
const ZEROS_READ = 4 * CHUNK
/** A hostile archive can hold any number of wrong entries; so many are enough to say what is wrong. */
const MAX_PROBLEMS = 100

/**
 * Reads a bundle in place, without extracting anything. The file is opened once, and this one handle serves both
 * the checks and the use of the content.
 */
export class BundleReader {
  readonly path: string
  readonly fileSize: number
  readonly #handle: FileHandle
  readonly #state: string

  private constructor(path: string, info: BigIntStats, handle: FileHandle) {
    this.path = path
    this.fileSize = Number(info.size)
    this.#handle = handle
    this.#state = stateOf(info)
  }

  /** @throws AirgapError `FILE` */
  static async open(path: string): Promise<BundleReader> {
    if (path === '-') {
      throw new AirgapError('FILE', 'a bundle cannot be read from standard input', {
        hint: 'A bundle is read at several places at once. Save the stream to a file first.',
      })
    }
    try {
      // Without O_NONBLOCK, opening a pipe would wait for its writer.
      const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
      const info = await handle.stat({ bigint: true })
      if (!info.isFile()) {
        await handle.close()
        throw new AirgapError('FILE', `cannot read ${path}: it is not a regular file`, {
          hint: 'A bundle is read at several places at once. Save the stream to a file first.',
        })
      }
      return new BundleReader(path, info, handle)
    } catch (error) {
      throw fileError(error, 'read', path)
    }
  }

  /** For threads that read the same open file. */
  get fd(): number {
    return this.#handle.fd
  }

  /**
   * Whether the file or its metadata has changed since it was opened.
   * @throws AirgapError `FILE`
   */
  async isChanged(): Promise<boolean> {
    try {
      return stateOf(await this.#handle.stat({ bigint: true })) !== this.#state
    } catch (error) {
      throw fileError(error, 'read', this.path)
    }
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /**
   * Reads `SHA256SUMS` and the signature entries after it, each up to its size limit, and nothing else: these have to be
   * checked before any other byte is read.
   * @throws AirgapError `INVALID_CONTENT`, `FILE`
   */
  async readHead(): Promise<BundleHead> {
    await this.#refuseOtherFormats()
    const first = await this.entryAt(0)
    if (first?.name !== CHECKSUMS) {
      throw new AirgapError('INVALID_CONTENT', `the first entry is not ${CHECKSUMS}`, {
        hint: `Is ${this.path} an airgap bundle? Decompress a compressed archive first.`,
      })
    }
    const head: BundleHead = { checksums: await this.read(first, MAX_CHECKSUMS) }
    const second = await this.entryAt(next(first))
    if (second?.name !== SIGSTORE_SIGNATURE) return head
    head.sigstore = await this.read(second, MAX_SIGSTORE_SIGNATURE)
    const third = await this.entryAt(next(second))
    if (third?.name === RAW_SIGNATURE) head.raw = await this.read(third, MAX_RAW_SIGNATURE)
    return head
  }

  /**
   * Walks through all headers up to the end of the file and checks every byte that is not content: headers, padding, the
   * two zero blocks, and that nothing follows. Continues after a fault where possible.
   *
   * @param listed how many entries there should be. A limited number of further entries is read, to name them.
   * @returns the entries in file order and the faults found; `zerosFrom` is the byte from which the file has only zeros
   *   instead of the missing entries.
   * @throws AirgapError `FILE`; the signal's reason if aborted.
   */
  async scan(
    listed: number,
    signal?: AbortSignal,
  ): Promise<{ entries: BundleEntry[]; problems: Problem[]; zerosFrom?: number }> {
    const entries: BundleEntry[] = []
    const problems: Problem[] = []
    let offset = 0
    let where = 'the first header'
    while (problems.length < MAX_PROBLEMS && entries.length < listed + MAX_PROBLEMS) {
      signal?.throwIfAborted()
      let entry: BundleEntry | undefined
      try {
        entry = await this.entryAt(offset)
      } catch (error) {
        problems.push({
          entry: where,
          message: `${messageOf(error)} (at byte ${offset})`,
          ...(isCutOff(error) ? { kind: 'cut-off' } : {}),
        })
        return { entries, problems }
      }
      if (!entry) {
        const isEarly = entries.length < listed && this.fileSize - offset > END_SIZE
        if (isEarly && (await this.#isZeroFrom(offset))) {
          const message = `the file has only zeros from byte ${offset} on: the rest was never written`
          problems.push({ entry: 'end of the archive', message, kind: 'cut-off' })
          return { entries, problems, zerosFrom: offset }
        }
        const fault = await this.#checkEnd(offset)
        if (fault) problems.push({ entry: 'end of the archive', ...fault })
        return { entries, problems }
      }
      const end = next(entry)
      if (end > this.fileSize) {
        const missing = end - this.fileSize
        problems.push({
          entry: entry.name,
          message: `the file is cut off: ${missing} bytes of this entry and everything after it are missing`,
          kind: 'cut-off',
        })
        return { entries, problems }
      }
      const padding = await this.#readAt(entry.contentOffset + entry.size, paddingLength(entry.size))
      if (!isZero(padding)) problems.push({ entry: entry.name, message: 'the padding after it is not zero' })
      entries.push(entry)
      where = `the header after ${entry.name}`
      offset = end
    }
    problems.push({
      entry: 'the archive',
      message: `too many faults; nothing from byte ${offset} on was checked`,
    })
    return { entries, problems }
  }

  /**
   * Reads an entry's whole content into memory.
   * @param limit its largest allowed size, in bytes.
   * @throws AirgapError `INVALID_CONTENT` if it is larger or cut off, `FILE`
   */
  async read(entry: BundleEntry, limit: number): Promise<Buffer> {
    if (entry.size > limit) {
      throw new AirgapError(
        'INVALID_CONTENT',
        `${entry.name} has ${entry.size} bytes, but at most ${limit} are allowed`,
      )
    }
    if (entry.contentOffset + entry.size > this.fileSize) {
      throw cutOff(`the file is cut off in ${entry.name}`)
    }
    return this.#readAt(entry.contentOffset, entry.size)
  }

  /**
   * Reads an entry's content in chunks.
   * @param most the largest chunk, in bytes.
   * @param from the byte of the content to start at.
   */
  async *stream(entry: BundleEntry, most: number = CHUNK, from = 0): AsyncGenerator<Buffer, void, undefined> {
    for (let done = from; done < entry.size; done += most) {
      yield await this.#readAt(entry.contentOffset + done, Math.min(most, entry.size - done))
    }
  }

  /**
   * Whether the file is empty or seems to hold only zeros, like a copy that has just begun. Looks only at both ends.
   * @throws AirgapError `FILE`
   */
  async holdsNothing(): Promise<boolean> {
    return this.#isZeroFrom(0)
  }

  /** Refuses what people pass by mistake: another file, an empty one, one that was compressed on the way. */
  async #refuseOtherFormats(): Promise<void> {
    const start = await this.#readAt(0, Math.min(this.fileSize, CHECKSUMS.length))
    if (start.toString('latin1') === CHECKSUMS) return
    const magic = start.toString('hex')
    let reason = 'it does not begin like one'
    let hint = 'Is it the right file?'
    if (this.fileSize === 0) throw cutOff('the file is empty')
    if (await this.holdsNothing()) throw cutOff('the file holds only zeros')
    const packed = magic.startsWith('1f8b') ? 'gzip' : magic.startsWith('28b52ffd') ? 'zstd' : undefined
    if (packed !== undefined) {
      reason = `it is compressed with ${packed}`
      hint = 'Decompress it first: a bundle is read in place.'
    }
    throw new AirgapError('INVALID_CONTENT', `${this.path} is not an airgap bundle: ${reason}`, { hint })
  }

  /**
   * Reads the header at byte `offset`.
   * @returns undefined for a zero block.
   * @throws AirgapError `INVALID_CONTENT` if airgap would not write such a header, `FILE`
   */
  async entryAt(offset: number): Promise<BundleEntry | undefined> {
    const bytes = await this.#readAt(offset, Math.min(LONGEST_HEADER, Math.max(this.fileSize - offset, 0)))
    if (isPartOfHeader(bytes)) {
      throw cutOff(
        bytes.length === 0
          ? 'the archive ends here, without its end mark'
          : 'the archive ends in the middle of a header',
      )
    }
    const header = decodeHeader(bytes)
    return header && { name: header.name, size: header.size, contentOffset: offset + header.headerLength }
  }

  async #checkEnd(offset: number): Promise<Omit<Problem, 'entry'> | undefined> {
    const rest = this.fileSize - offset
    if (rest < END_SIZE) {
      const missing = END_SIZE - rest
      return {
        message: `the file is cut off: ${missing} bytes of the end mark are missing`,
        kind: 'cut-off',
      }
    }
    if (!isZero(await this.#readAt(offset, END_SIZE)))
      return { message: 'the end mark is not two zero blocks' }
    if (rest > END_SIZE) return { message: `${rest - END_SIZE} bytes follow after the end` }
    return undefined
  }

  /** Whether only zeros seem to follow. Looks only at both ends, because a file can claim any size. */
  async #isZeroFrom(offset: number): Promise<boolean> {
    const near = await this.#readAt(offset, Math.min(ZEROS_READ, this.fileSize - offset))
    const last = Math.max(offset, this.fileSize - ZEROS_READ)
    return isZero(near) && isZero(await this.#readAt(last, this.fileSize - last))
  }

  async #readAt(offset: number, length: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(length)
    let done = 0
    try {
      while (done < length) {
        const { bytesRead } = await this.#handle.read(buffer, done, length - done, offset + done)
        if (bytesRead === 0) {
          throw new AirgapError('INVALID_CONTENT', `${this.path} became shorter while it was read`)
        }
        done += bytesRead
      }
    } catch (error) {
      throw fileError(error, 'read', this.path)
    }
    return buffer
  }
}

/** The error for a file that ends too early. */
function cutOff(message: string): AirgapError {
  return new AirgapError('INVALID_CONTENT', message, {
    problems: [{ entry: 'the file', message, kind: 'cut-off' }],
  })
}

/** Whether an error means that the file ends too early. */
export function isCutOff(error: unknown): boolean {
  return error instanceof AirgapError && error.problems[0]?.kind === 'cut-off'
}

/** Where the next entry begins. Bytes. */
export function next(entry: BundleEntry): number {
  return entry.contentOffset + entry.size + paddingLength(entry.size)
}

/** Includes the ctime, because somebody who writes to a file cannot reset it. */
function stateOf({ size, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${size} ${mtimeNs} ${ctimeNs}`
}
