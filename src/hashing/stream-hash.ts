import { createHash } from 'node:crypto'
import type { Digest } from '../oci/digest.ts'
import type { Block } from './blocks.ts'

/** SHA-256 over blocks, one behind the other. */
export interface StreamHash {
  /** Takes the first `length` bytes of a block, which must stay as they are until the promise is settled. */
  update(block: Block, length: number): Promise<void>
  /** What has been taken so far; nothing can be added behind it. */
  digest(): Promise<Digest>
  /** Lets go of it. Harmless after {@link digest}. */
  drop(): void
}

/** Hashes here and now: for what is small. */
export class LocalHash implements StreamHash {
  readonly #hash = createHash('sha256')

  async update(block: Block, length: number): Promise<void> {
    this.#hash.update(block.bytes.subarray(0, length))
  }

  async digest(): Promise<Digest> {
    return `sha256:${this.#hash.digest('hex')}`
  }

  drop(): void {}
}
