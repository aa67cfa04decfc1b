import type { Clock } from './clock.ts'

/** What may go at once after a pause, and the length of one piece. Milliseconds of the rate. */
const BURST_MS = 250
const PIECE_MS = 100
const LEAST_PIECE = 1024
const LARGEST_PIECE = 64 * 1024

/**
 * So many bytes a second over everything that asks: a token bucket whose tokens are reserved ahead, first come, first
 * served. Who waits holds what it has read and nothing more; what comes in behind it stays with the sender.
 */
export class RateLimit {
  readonly bytesPerSecond: number
  readonly #perMs: number
  readonly #clock: Clock
  readonly #waiting = new Set<() => void>()
  /** When everything that has been let through so far will have gone. */
  #until = 0
  #isClosed = false

  constructor(bytesPerSecond: number, clock: Clock) {
    this.bytesPerSecond = bytesPerSecond
    this.#perMs = bytesPerSecond / 1000
    this.#clock = clock
  }

  /** In pieces of this size what goes out stays smooth. Bytes. */
  get piece(): number {
    return Math.round(Math.min(Math.max(this.#perMs * PIECE_MS, LEAST_PIECE), LARGEST_PIECE))
  }

  /** Waits until so many bytes more may have gone through; not at all once {@link close} was called. */
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

  /** Lets go of everybody who waits: what they wait with is given up. */
  close(): void {
    this.#isClosed = true
    for (const go of this.#waiting) go()
  }

  /** Passes on what comes, as slowly as it has to be, in small pieces. */
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
