import { fstat, type BigIntStats } from 'node:fs'
import { promisify } from 'node:util'
import { blobName } from '../bundle/names.ts'
import type { BundleEntry } from '../bundle/reader.ts'
import { AirgapError, fileError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { StoredBlob } from './registry/store.ts'
import type { OpenedBundle } from '../verify/opened-bundle.ts'
import { contentEntries, hashContent, requireContent, type CheckOptions } from '../verify/content.ts'

/** Bytes read at a time. A client that does not read its data keeps about twice as much in memory. */
const CHUNK = 64 * 1024

const stat = promisify<number, { bigint: true }, BigIntStats>(fstat)

/** What the system records about changes of a file. */
type State = Pick<BigIntStats, 'size' | 'mtimeNs' | 'ctimeNs'>

/**
 * The blobs of an open bundle, as long as the file does not change after it was hashed. Every write updates the ctime,
 * which nobody can reset, unlike the mtime. But the ctime also changes for other reasons, such as a new owner or name, so
 * if only the ctime has changed, the content is hashed again.
 */
export class ServedFile {
  readonly opened: OpenedBundle
  readonly #options: CheckOptions
  #state: State
  #checking: Promise<void> | undefined
  #fault: AirgapError | undefined

  private constructor(opened: OpenedBundle, state: State, options: CheckOptions) {
    this.opened = opened
    this.#state = state
    this.#options = options
  }

  /**
   * Hashes all content. Reads the state first, so that a change during the hashing is noticed.
   * @throws AirgapError `VERIFICATION_FAILED`, `FILE`; the signal's reason if aborted.
   */
  static async check(opened: OpenedBundle, options: CheckOptions): Promise<ServedFile> {
    const state = await stateOf(opened)
    await requireContent(opened, contentEntries(opened), options)
    const { onEvent: _, ...quiet } = options
    const file = new ServedFile(opened, state, quiet)
    await file.requireUnchanged()
    return file
  }

  /** @throws AirgapError `FILE` if the file has changed. */
  async requireUnchanged(): Promise<void> {
    if (this.#fault) throw this.#fault
    const now = await stateOf(this.opened)
    if (now.ctimeNs === this.#state.ctimeNs && isSame(now, this.#state)) return
    if (!isSame(now, this.#state)) throw this.#changed()
    this.#checking ??= this.#checkAgain(now).finally(() => (this.#checking = undefined))
    await this.#checking
  }

  async #checkAgain(state: State): Promise<void> {
    const problems = await hashContent(this.opened, contentEntries(this.opened), this.#options)
    // Keep the fault for good: somebody could restore the file before the next check.
    if (problems.length > 0) this.#fault = this.#changed()
    const after = await stateOf(this.opened)
    if (this.#fault || !isSame(after, state) || after.ctimeNs !== state.ctimeNs) throw this.#changed()
    this.#state = state
  }

  #changed(): AirgapError {
    return new AirgapError('FILE', `${this.opened.reader.path} has been changed since it was verified`, {
      hint: 'It is no longer served. Put the right file in its place and start again.',
    })
  }

  /** @throws AirgapError `FILE` if the file has changed. Reading the blob throws it, too, before the last bytes. */
  async blob(digest: Digest): Promise<StoredBlob | undefined> {
    const entry = this.opened.entries.get(blobName(digest))
    if (!entry) return undefined
    await this.requireUnchanged()
    return { digest, size: entry.size, read: (start, end) => this.#read(entry, start, end) }
  }

  async *#read(entry: BundleEntry, start: number, end: number): AsyncGenerator<Uint8Array> {
    const part = { ...entry, contentOffset: entry.contentOffset + start, size: end - start }
    let left = part.size
    for await (const chunk of this.opened.reader.stream(part, CHUNK)) {
      left -= chunk.length
      // The client must not get the end of content that has changed since it was verified.
      if (left === 0) await this.requireUnchanged()
      yield chunk
    }
  }
}

function isSame(one: State, other: State): boolean {
  return one.size === other.size && one.mtimeNs === other.mtimeNs
}

async function stateOf({ reader }: OpenedBundle): Promise<State> {
  try {
    return await stat(reader.fd, { bigint: true })
  } catch (error) {
    throw fileError(error, 'read', reader.path)
  }
}
