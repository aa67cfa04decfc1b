import type { AirgapError } from '../../../errors.ts'
import type { Context } from '../../notices.ts'
import type { Clock } from './clock.ts'

/** A request that waits to be sent. */
export interface Waiter {
  counts: boolean
  context: Context
  go(): void
  fail(error: AirgapError): void
}

/** Requests to one host that wait, first come, first served. */
export class WaitingLine {
  readonly #clock: Clock
  readonly #line: Waiter[] = []
  #cancelTimer: (() => void) | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get isEmpty(): boolean {
    return this.#line.length === 0
  }

  /**
   * Waits for a turn.
   * @param go called when the request may be sent.
   * @throws the error given to {@link fail}; the signal's reason.
   */
  wait<T>(
    { counts, context, signal }: { counts: boolean; context: Context; signal?: AbortSignal | undefined },
    go: () => T,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const end = (): void => {
        this.#remove(waiter)
        signal?.removeEventListener('abort', stop)
      }
      const stop = (): void => {
        end()
        reject(signal?.reason as Error)
      }
      const waiter: Waiter = {
        counts,
        context,
        go: () => {
          end()
          resolve(go())
        },
        fail: (error) => {
          end()
          reject(error)
        },
      }
      signal?.addEventListener('abort', stop, { once: true })
      this.#line.push(waiter)
    })
  }

  /**
   * Sends every request that may go. Requests that others wait for do not queue behind transfers.
   * @param wait milliseconds until the next request may go at the latest; undefined where that depends on others alone.
   */
  pump(mayGo: (waiter: Waiter) => boolean, wait: () => number | undefined): void {
    const before = wait() ?? 0
    for (const waiter of this.#line.slice()) if (mayGo(waiter)) waiter.go()
    this.#cancel()
    const ms = this.isEmpty ? undefined : wait()
    // The wait may end between two readings of the clock: then no request was sent, and nothing else would call this.
    if (ms !== undefined && (ms > 0 || before > 0)) {
      this.#cancelTimer = this.#clock.after(Math.max(Math.ceil(ms), 0), () => this.pump(mayGo, wait))
    }
  }

  /** Fails all waiting requests. */
  fail(why: (waiter: Waiter) => AirgapError): void {
    for (const waiter of this.#line.slice()) waiter.fail(why(waiter))
  }

  #remove(waiter: Waiter): void {
    const at = this.#line.indexOf(waiter)
    if (at >= 0) this.#line.splice(at, 1)
    if (this.isEmpty) this.#cancel()
  }

  #cancel(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }
}
