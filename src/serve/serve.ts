import type { ListenOptions, ServedBundles } from './start.ts'
import { running, type RunOptions } from '../content/run.ts'
import { tellClock } from '../verify/clock.ts'
import { readTrust, type TrustOptions } from '../verify/trust.ts'

/** How to serve, and what to trust. */
export interface ServeOptions extends TrustOptions, ListenOptions, Omit<RunOptions, 'signal'> {
  /** Aborts the preparation; once it listens, ends it as {@link ServedBundles.stop} does. */
  signal?: AbortSignal | undefined
}

/**
 * Verifies bundles completely and serves them as one read-only registry (OCI distribution-spec v1.1, pull), straight
 * from their files.
 *
 * @returns when it listens; {@link ServedBundles.stop} ends it, as does `await using`.
 * @throws AirgapError `USAGE`, `VERIFICATION_FAILED`, `NAME_CONFLICT`, `TLS`, `NETWORK`, `FILE`, `INVALID_KEY`,
 *   `INVALID_DIGEST`. The signal's reason.
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

/** From here on the caller's signal ends the server; one that outlives the server is left without a listener. */
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
