import { fstat, type BigIntStats } from 'node:fs'
import { promisify } from 'node:util'
import { blobName } from '../bundle/names.ts'
import type { BundleEntry } from '../bundle/reader.ts'
import { AirgapError, fileError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { StoredBlob } from './registry/store.ts'
import type { OpenedBundle } from '../verify/opened-bundle.ts'
import { contentEntries, hashContent, requireContent, type CheckOptions } from '../verify/content.ts'

/** Bytes read at a time: what a client that does not read keeps in memory is about twice as much. */
const CHUNK = 64 * 1024

const stat = promisify<number, { bigint: true }, BigIntStats>(fstat)

/** What the system says of a file's content. */
type State = Pick<BigIntStats, 'size' | 'mtimeNs' | 'ctimeNs'>

/**
 * The blobs of an open bundle, as long as the file is what it was when it was hashed. The system notes each write as a
 * change of the file (ctime), and nobody can set that back, as the time of the last write (mtime) can be. It is noted
 * for other reasons, too, such as another owner or name: so the content is hashed again where only that has changed.
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
   * Hashes all of the content. The state is taken first, so that a change during the hashing counts.
   * @throws AirgapError `VERIFICATION_FAILED`, `FILE`; the signal's reason.
   */
  static async check(opened: OpenedBundle, options: CheckOptions): Promise<ServedFile> {
    const state = await stateOf(opened)
    await requireContent(opened, contentEntries(opened), options)
    const { onEvent: _, ...quiet } = options
    const file = new ServedFile(opened, state, quiet)
    await file.requireUnchanged()
    return file
  }

  /** @throws AirgapError `FILE` when the file has been written to. */
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
    // For good: whoever has altered it may put it right for the next look.
    if (problems.length > 0) this.#fault = this.#changed()
    const after = await stateOf(this.opened)
    if (this.#fault || !isSame(after, state) || after.ctimeNs !== state.ctimeNs) throw this.#changed()
    this.#state = state
  }

  #changed(): AirgapError {
    return new AirgapError('FILE', `${this.opened.reader.path} has been changed since it was verified`, {
      hint: 'Nothing more is sent of it. Bring the right file into its place and start again.',
    })
  }

  /** @throws AirgapError `FILE` when the file has been written to; so does reading, before the last bytes. */
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
      // The client must not come to the end of something that nobody has verified.
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
