import { fstat, type BigIntStats } from 'node:fs'
import { promisify } from 'node:util'
import { blobName } from '../../bundle/names.ts'
import type { BundleEntry } from '../../bundle/reader.ts'
import { AirgapError, fileError } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { StoredBlob } from '../../server/storage.ts'
import type { OpenedBundle } from '../check/opened-bundle.ts'

/** Bytes read at a time: what a client that does not read keeps in memory is about twice as much. */
const CHUNK = 64 * 1024

const stat = promisify<number, { bigint: true }, BigIntStats>(fstat)

/**
 * The blobs of an open bundle, as long as the file is what it was when it was taken into service. Take it before
 * the content is hashed: then whatever is sent has been hashed and not been written to since.
 */
export class ServedFile {
  readonly opened: OpenedBundle
  readonly #size: bigint
  readonly #modified: bigint

  private constructor(opened: OpenedBundle, { size, mtimeNs }: BigIntStats) {
    this.opened = opened
    this.#size = size
    this.#modified = mtimeNs
  }

  /** @throws AirgapError `FILE` */
  static async take(opened: OpenedBundle): Promise<ServedFile> {
    return new ServedFile(opened, await statOf(opened))
  }

  /** @throws AirgapError `FILE` when the file has been written to. */
  async requireUnchanged(): Promise<void> {
    const { size, mtimeNs } = await statOf(this.opened)
    if (size === this.#size && mtimeNs === this.#modified) return
    throw new AirgapError('FILE', `${this.opened.reader.path} has been changed since it was verified`, {
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

async function statOf({ reader }: OpenedBundle): Promise<BigIntStats> {
  try {
    return await stat(reader.fd, { bigint: true })
  } catch (error) {
    throw fileError(error, 'read', reader.path)
  }
}
