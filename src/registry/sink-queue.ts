/** Where a download is written to. */
export interface BlobSink {
  /**
   * Takes `chunks`, which belong one behind the other from `position` on. Called in order, one at a time. After a
   * restart positions begin at 0 again.
   */
  write(chunks: readonly Uint8Array[], position: number): Promise<void>
  /** False for a pipe: what has been written cannot be taken back. */
  readonly restartable: boolean
}

/**
 * A write of this many bytes is worth its system call. Two of them a download are in memory: one being written, one
 * being gathered.
 */
const WRITE_SIZE = 1024 * 1024

/**
 * Gathers a download's chunks into larger writes, and lets one be under way while the next is gathered: the network
 * does not wait for the disk.
 */
export class SinkQueue {
  readonly #sink: BlobSink
  #gathered: Uint8Array[] = []
  #gatheredBytes = 0
  /** Where the gathered chunks begin. */
  #position = 0
  #writing: Promise<{ failure?: unknown }> = Promise.resolve({})

  constructor(sink: BlobSink) {
    this.#sink = sink
  }

  /** Whether {@link restart} is possible: the sink can go back, or has not been given anything yet. */
  get canRestart(): boolean {
    return this.#sink.restartable || this.#position === 0
  }

  /** @throws what the sink threw, at this or an earlier write. */
  async add(chunk: Uint8Array): Promise<void> {
    this.#gathered.push(chunk)
    this.#gatheredBytes += chunk.length
    if (this.#gatheredBytes >= WRITE_SIZE) await this.#flush()
  }

  /**
   * Writes what is left, and waits for it.
   * @throws what the sink threw.
   */
  async end(): Promise<void> {
    if (this.#gatheredBytes > 0) await this.#flush()
    await this.#settled()
  }

  /** Forgets what was gathered; the next chunk is the first again. */
  async restart(): Promise<void> {
    await this.#writing
    this.#gathered = []
    this.#gatheredBytes = 0
    this.#position = 0
  }

  /**
   * Waits until the sink is no longer at work, and leaves it with all that came where it can go back: a later run may
   * go on from there.
   */
  async settle(): Promise<void> {
    if (this.#sink.restartable && this.#gatheredBytes > 0 && !('failure' in (await this.#writing))) {
      await this.#flush()
    }
    await this.#writing
  }

  async #flush(): Promise<void> {
    await this.#settled()
    const chunks = this.#gathered
    const position = this.#position
    this.#gathered = []
    this.#position += this.#gatheredBytes
    this.#gatheredBytes = 0
    // Its failure is told when somebody waits for it, which may be later.
    this.#writing = this.#sink.write(chunks, position).then(
      () => ({}),
      (failure: unknown) => ({ failure }),
    )
  }

  async #settled(): Promise<void> {
    const result = await this.#writing
    if ('failure' in result) throw result.failure
  }
}
