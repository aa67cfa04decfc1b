import type { Clock } from './clock.ts'

/** How much may go at once after a pause, and the size of one piece. Both as milliseconds at the full rate. */
const BURST_MS = 250
const PIECE_MS = 100
const LEAST_PIECE = 1024
const LARGEST_PIECE = 64 * 1024

/**
 * A limit of bytes a second over all transfers: a token bucket whose tokens are reserved in advance, first come, first
 * served. A transfer that waits holds only what it has read; the rest stays with the sender.
 */
export class RateLimit {
  readonly bytesPerSecond: number
  readonly #perMs: number
  readonly #clock: Clock
  readonly #waiting = new Set<() => void>()
  /** When everything let through so far will have been sent. */
  #until = 0
  #isClosed = false

  constructor(bytesPerSecond: number, clock: Clock) {
    this.bytesPerSecond = bytesPerSecond
    this.#perMs = bytesPerSecond / 1000
    this.#clock = clock
  }

  /** Bytes of one piece, small enough for a smooth flow. */
  get piece(): number {
    return Math.round(Math.min(Math.max(this.#perMs * PIECE_MS, LEAST_PIECE), LARGEST_PIECE))
  }

  /** Waits until so many more bytes may pass. Does not wait once {@link close} was called. */
  take(bytes: number): Promise<void> {
    const now = this.#clock.now()
    const from = Math.max(this.#until, now - BURST_MS)
    this.#until = from + bytes / this.#perMs
    const wait = this.#until - now
    if (wait <= 0 || this.#isClosed) return Promise.resolve()
    return new Promise((resolve) => {
      const go = (): void => {
        cancel()
        this.#waiting.delete(go)
        resolve()
      }
      const cancel = this.#clock.after(wait, go)
      this.#waiting.add(go)
    })
  }

  /** Ends all waiting: the transfers that wait are given up. */
  close(): void {
    this.#isClosed = true
    for (const go of this.#waiting) go()
  }

  /** Passes on the bytes of `source` in small pieces, at the limited rate. */
  async *pace(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const { piece } = this
    for await (const chunk of source) {
      for (let at = 0; at < chunk.length; at += piece) {
        const part = chunk.subarray(at, at + piece)
        await this.take(part.length)
        yield part
      }
    }
  }
}
