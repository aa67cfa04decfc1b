import { AirgapError } from '../errors.ts'
import type { OnEvent } from './events.ts'

/** What every engine takes. */
export interface RunOptions {
  /**
   * Cancels the work. Files, connections and threads are closed, nothing is left that looks finished, and the promise is
   * rejected with the signal's reason. If the signal is already aborted, nothing is done at all.
   */
  signal?: AbortSignal | undefined
  /**
   * Gets an event for everything that happens, until the promise is settled or the work is cancelled. Must not throw: an
   * error that it throws cancels the work as the signal does, and the promise is rejected with it.
   */
  onEvent?: OnEvent | undefined
}

/** What a run passes to the engines. */
export interface Run {
  /** Aborted by the caller's signal, or if a listener throws. Its reason is always an AirgapError `INTERRUPTED`. */
  signal: AbortSignal
  /** Never throws. */
  onEvent: OnEvent
}

/**
 * Runs a caller's work, unless the signal is already aborted. No event comes after the work has ended.
 * @throws what `work` throws; if the work was cancelled, the signal's own reason, whatever that is.
 */
export async function running<T>(
  { signal, onEvent }: RunOptions,
  work: (run: Run) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted()
  const stop = new AbortController()
  let calledOff: { reason: unknown } | undefined
  let isOver = false
  const callOff = (reason: unknown): void => {
    calledOff ??= { reason }
    // Engines recognize a cancellation by this error; the caller's own reason can be anything.
    stop.abort(new AirgapError('INTERRUPTED', 'the work was cancelled', { cause: reason }))
  }
  const onAbort = (): void => callOff(signal?.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    return await work({
      signal: stop.signal,
      onEvent: (event) => {
        if (isOver || calledOff) return
        try {
          onEvent?.(event)
        } catch (error) {
          callOff(error)
        }
      },
    })
  } catch (error) {
    throw calledOff ? calledOff.reason : error
  } finally {
    isOver = true
    signal?.removeEventListener('abort', onAbort)
  }
}
