import type { RequestLogEntry } from './registry/request.ts'
import type { ListenAddress } from './address.ts'
import type { ServedImage } from './names.ts'
import type { ServedBundles } from './start.ts'
import { running, type RunOptions } from '../content/run.ts'
import { tellClock } from '../verify/clock.ts'
import { readTrust, type TrustOptions } from '../verify/trust.ts'

/** How to serve, and what to trust. */
export interface ServeOptions extends TrustOptions, Omit<RunOptions, 'signal'> {
  /** Calls the preparation off; once it listens, ends it as {@link ServedBundles.stop} does. */
  signal?: AbortSignal | undefined
  /** 127.0.0.1:5000 where left out; port 0 is any free one. */
  listen?: ListenAddress | undefined
  /** PEM. Without it, plain HTTP. */
  tls?: { key: Buffer; cert: Buffer } | undefined
  /** Speak plain HTTP where other machines can listen in, too. */
  allowPlainHttp?: boolean | undefined
  /**
   * `HOST` or `HOST:PORT` by which clients reach it, where that is neither the address that it listens on nor in its
   * certificate: requests that name another host are refused.
   */
  advertise?: string | undefined
  /** Everything is known, nothing hashed: the last moment to refuse cheaply, by throwing. */
  onNamed?: ((images: readonly ServedImage[]) => void | Promise<void>) | undefined
  /** Called once for each request, when it is over. Must not throw: nobody is there to catch it. */
  onRequest?: ((entry: RequestLogEntry) => void) | undefined
  /** A TLS handshake that came to nothing. Must not throw. */
  onHandshakeFault?: ((remote: string | undefined, message: string) => void) | undefined
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
    const { listen, tls, allowPlainHttp, advertise, onNamed, onRequest, onHandshakeFault } = options
    const served = await serveBundles(paths, {
      ...run,
      trust,
      ...(listen ? { listen } : {}),
      ...(tls ? { tls } : {}),
      ...(allowPlainHttp === undefined ? {} : { allowPlainHttp }),
      ...(advertise === undefined ? {} : { advertise }),
      ...(onNamed ? { onNamed: async (images) => onNamed(images) } : {}),
      ...(onRequest ? { onRequest } : {}),
      ...(onHandshakeFault ? { onHandshakeFault } : {}),
    })
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
