import type { ListenOptions, ServedBundles } from './start.ts'
import { running, type RunOptions } from '../content/run.ts'
import { tellClock } from '../verify/clock.ts'
import { readTrust, type TrustOptions } from '../verify/trust.ts'

/** How to serve, and what to trust. */
export interface ServeOptions extends TrustOptions, ListenOptions, Omit<RunOptions, 'signal'> {
  /** Aborts the preparation. Once the server listens, ends it like {@link ServedBundles.stop}. */
  signal?: AbortSignal | undefined
}

/**
 * Verifies bundles completely and serves them as one read-only registry (OCI distribution-spec v1.1, pull), straight
 * from their files.
 *
 * @returns when it listens. {@link ServedBundles.stop} or the end of an `await using` block ends it.
 * @throws AirgapError `USAGE`, `VERIFICATION_FAILED`, `NAME_CONFLICT`, `TLS`, `NETWORK`, `FILE`, `INVALID_KEY`,
 *   `INVALID_DIGEST`. The signal's reason if aborted.
 */
export async function serve(paths: readonly string[], options: ServeOptions): Promise<ServedBundles> {
  return running(options, async (run) => {
    const trust = await readTrust(options)
    const { serveBundles } = await import('./start.ts')
    const served = await serveBundles(paths, { ...options, ...run, trust })
    for (const opened of served.bundles) tellClock(opened, run.onEvent)
    if (run.signal.aborted) await served.stop(0)
    run.signal.throwIfAborted()
    return stoppedBy(options.signal, served)
  })
}

/** Lets the caller's signal end the server. When the server stops, the listener is removed from the signal. */
function stoppedBy(signal: AbortSignal | undefined, served: ServedBundles): ServedBundles {
  if (!signal) return served
  const onAbort = (): void => void served.stop()
  const stop = async (patience?: number): Promise<void> => {
    signal.removeEventListener('abort', onAbort)
    await served.stop(patience)
  }
  signal.addEventListener('abort', onAbort, { once: true })
  return { ...served, stop, [Symbol.asyncDispose]: () => stop(0) }
}
