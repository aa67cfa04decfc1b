import {
  type Block,
  BLOCK_SIZE,
  type BlockPool,
  type HashThreads,
  type StreamHash,
} from '../../hashing/stream-threads.ts'
import type { Digest } from '../../oci/digest.ts'

/** The destination of a download. */
export interface BlobSink {
  /**
   * Writes bytes, which belong to the sink only until the promise is settled. Called in order, one at a time. After a
   * restart, positions begin at 0 again.
   */
  write(bytes: Uint8Array, position: number): Promise<void>
  /** False for a pipe: bytes already written cannot be taken back. */
  readonly restartable: boolean
}

/** The beginning of a blob, which a sink has from an earlier download. */
export interface Begun {
  /** Bytes; less than the blob's size. */
  position: number
  /** Has hashed exactly these bytes; the download takes it over. */
  hash: StreamHash
}

/** The memory and the threads that downloads share. */
export interface IntakeParts {
  readonly blocks: BlockPool
  readonly threads: HashThreads
}

/** The blocks of one download: one is being filled, the others are hashed and written. */
const MOST_BLOCKS = 3

/**
 * Takes a download's bytes, and gathers them into blocks. Each block is hashed and written while the next is filled, so
 * the network waits neither for the disk nor for the hash.
 */
export class Intake {
  readonly #sink: BlobSink
  readonly #size: number
  readonly #parts: IntakeParts
  readonly #underWay = new Set<Promise<void>>()
  #hash: StreamHash
  #block: Block | undefined
  #filled = 0
  /** Start of the block that is being filled. */
  #position = 0
  #writing: Promise<void> = Promise.resolve()
  #failure: { error: unknown } | undefined

  /**
   * @param size expected bytes.
   * @param begun what the sink already has, which need not be sent again.
   */
  constructor(sink: BlobSink, size: number, parts: IntakeParts, begun?: Begun) {
    this.#sink = sink
    this.#size = size
    this.#parts = parts
    this.#hash = begun?.hash ?? parts.threads.open(size)
    this.#position = begun?.position ?? 0
  }

  /** Whether {@link restart} is possible: the sink can go back, or has got no bytes yet. */
  get canRestart(): boolean {
    return this.#sink.restartable || this.#position === 0
  }

  /** @throws the sink's error, of this or an earlier write. */
  async add(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length;) {
      this.#block ??= this.#parts.blocks.take()
      const part = chunk.subarray(at, at + BLOCK_SIZE - this.#filled)
      this.#block.bytes.set(part, this.#filled)
      this.#filled += part.length
      at += part.length
      if (this.#filled === BLOCK_SIZE) await this.#send(this.#block)
    }
  }

  /** The digest of all bytes so far. The last block is not written before {@link end}. */
  async digest(): Promise<Digest> {
    if (this.#block && this.#filled > 0) await this.#hash.update(this.#block, this.#filled)
    return this.#hash.digest()
  }

  /**
   * Writes the rest, and waits until it is written.
   * @throws the sink's error.
   */
  async end(): Promise<void> {
    await this.#writeRest()
    if (this.#failure) throw this.#failure.error
  }

  /** Starts again: the next chunk is the first. */
  async restart(): Promise<void> {
    await Promise.all(this.#underWay)
    this.#hash.drop()
    this.#hash = this.#parts.threads.open(this.#size)
    this.#filled = 0
    this.#position = 0
  }

  /**
   * Waits until the sink has finished. A restartable sink keeps all bytes that came, so that a later run can resume.
   * Nothing can be added afterwards.
   */
  async settle(): Promise<void> {
    if (this.#sink.restartable) await this.#writeRest()
    await Promise.all(this.#underWay)
    this.#hash.drop()
    if (this.#block) this.#parts.blocks.give(this.#block)
    this.#block = undefined
  }

  async #send(block: Block): Promise<void> {
    const hashed = this.#hash.update(block, this.#filled).catch(this.#fail)
    const written = this.#write(block)
    this.#block = undefined
    const finished = Promise.all([hashed, written]).then(() => {
      this.#parts.blocks.give(block)
      this.#underWay.delete(finished)
    })
    this.#underWay.add(finished)
    if (this.#underWay.size >= MOST_BLOCKS - 1) await Promise.race(this.#underWay)
    if (this.#failure) throw this.#failure.error
  }

  async #writeRest(): Promise<void> {
    if (this.#block && this.#filled > 0) await this.#write(this.#block)
    await this.#writing
  }

  /** Writes a block after the ones before it, unless one of them has failed. */
  #write(block: Block): Promise<void> {
    const bytes = block.bytes.subarray(0, this.#filled)
    const position = this.#position
    this.#position += this.#filled
    this.#filled = 0
    this.#writing = this.#writing
      .then(() => (this.#failure ? undefined : this.#sink.write(bytes, position)))
      .catch(this.#fail)
    return this.#writing
  }

  /** Keeps an error until the next call that waits. */
  readonly #fail = (error: unknown): void => {
    this.#failure ??= { error }
  }
}
