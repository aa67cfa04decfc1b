import { AirgapError } from '../errors.ts'
import type { OnEvent } from './events.ts'

/** What every engine takes. */
export interface RunOptions {
  /**
   * Calls the work off. Then files, connections and threads are closed, nothing is left that looks finished, and the
   * promise is rejected with the signal's reason. A signal that is aborted already leaves everything untouched.
   */
  signal?: AbortSignal | undefined
  /**
   * Is told of everything that happens, until the promise is settled or the work is called off. Must not throw: an
   * error that it throws calls the work off as the signal does, and is what the promise is rejected with.
   */
  onEvent?: OnEvent | undefined
}

/** What a run hands to the engines below. */
export interface Run {
  /** Aborted by the caller's signal, and by a listener that throws; its reason is always an AirgapError `INTERRUPTED`. */
  signal: AbortSignal
  /** Never throws. */
  onEvent: OnEvent
}

/**
 * Does a caller's work: not at all where it is called off already, and with one end, behind which no event is told.
 * @throws what `work` throws; the signal's own reason, whatever it is, when the work was called off.
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
    // The engines tell by this error that they are called off; a caller's reason can be anything.
    stop.abort(new AirgapError('INTERRUPTED', 'the work was called off', { cause: reason }))
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
