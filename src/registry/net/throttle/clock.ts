/** Time and randomness for waiting; tests use their own. */
export interface Clock {
  /** Milliseconds since 1970. Never goes back, even if the machine's clock is set. */
  now(): number
  /** Calls `done` after so many milliseconds. The function returned cancels that. */
  after(ms: number, done: () => void): () => void
  /** From 0 to less than 1. */
  random(): number
}

/** The longest time that a timer can be set for. */
const MAX_TIMER_MS = 2 ** 31 - 1

export const SYSTEM_CLOCK: Clock = {
  now: () => performance.timeOrigin + performance.now(),
  after: (ms, done) => {
    const timer = setTimeout(done, Math.min(Math.max(ms, 0), MAX_TIMER_MS))
    return () => clearTimeout(timer)
  },
  random: Math.random,
}

/** @throws the signal's reason. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const stop = (): void => {
      cancel()
      reject(signal?.reason as Error)
    }
    const cancel = clock.after(ms, () => {
      signal?.removeEventListener('abort', stop)
      resolve()
    })
    signal?.addEventListener('abort', stop, { once: true })
  })
}
