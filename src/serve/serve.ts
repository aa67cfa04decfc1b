import { X509Certificate } from 'node:crypto'
import type { RequestLogEntry } from './registry/request.ts'
import { type RunningServer, serve as listenWith } from './registry/registry.ts'
import type { ConnectionLimits } from './registry/http-server.ts'
import type { Trust } from '../verify/authenticate.ts'
import { openBundle } from '../verify/open.ts'
import type { OpenedBundle, VerifiedBundle } from '../verify/opened-bundle.ts'
import { verificationError } from '../verify/content.ts'
import { type Run, running, type RunOptions } from '../content/run.ts'
import { type ListenAddress, ownNames, requireSafe } from './address.ts'
import { ambiguousNames, BundleStore } from './bundle-store.ts'
import { nameServedImages, type ServedImage } from './names.ts'
import { type FindBlob, sourceRepositories, type SourceRepository } from './repositories.ts'
import { ServedFile } from './served-file.ts'
import { tellClock } from '../verify/clock.ts'
import { readTrust, type TrustOptions } from '../verify/trust.ts'

/** How bundles are served. */
export interface ListenOptions {
  /** By default 127.0.0.1:5000. Port 0 means any free port. */
  listen?: ListenAddress | undefined
  /** PEM. Without it, plain HTTP. */
  tls?: { key: Buffer; cert: Buffer } | undefined
  /** Allow plain HTTP on addresses that other machines can reach. */
  allowPlainHttp?: boolean | undefined
  /**
   * The `HOST` or `HOST:PORT` by which clients reach the server, if it is neither the address that it listens on nor in
   * its certificate. Requests to other host names are refused.
   */
  advertise?: string | undefined
  /** Called when the images are known and nothing is hashed yet. Throw to stop before the long work. */
  onNamed?: ((images: readonly ServedImage[]) => void | Promise<void>) | undefined
  /** Called once for each request, at its end. Must not throw: nothing catches it. */
  onRequest?: ((entry: RequestLogEntry) => void) | undefined
  /** Called if a TLS handshake fails. Must not throw. */
  onHandshakeFault?: ((remote: string | undefined, message: string) => void) | undefined
}

/** What else {@link serveBundles} needs. The signal aborts the preparation; {@link ServedBundles.stop} ends the server. */
interface ServeRun extends ListenOptions, Partial<Run> {
  trust: Trust
  limits?: Partial<ConnectionLimits>
}

/** Bundles that are being served. */
export interface ServedBundles extends AsyncDisposable {
  /** `http://127.0.0.1:5000` */
  url: string
  bundles: readonly VerifiedBundle[]
  images: readonly ServedImage[]
  /** Every name that a client can use, sorted. */
  repositories: readonly string[]
  /** Short names that mean several images, as `NAME:TAG`, and the names to use instead. */
  ambiguous: readonly { name: string; use: string[] }[]
  /** The number of requests being answered. */
  active(): number
  /**
   * Accepts no more connections, lets running transfers finish, and closes the files. A second call waits for the same
   * end, with the shorter patience of the two.
   * @param patience milliseconds after which connections that are still open are closed; by default 10,000.
   */
  stop(patience?: number): Promise<void>
}

/** Enough for nodes that pull with several connections each; protects against clients that hold connections open. */
const LIMITS: ConnectionLimits = {
  headers: 10_000,
  request: 60_000,
  stalled: 120_000,
  keepAlive: 30_000,
  connections: 4096,
  perClient: 512,
}

/**
 * Serves bundles as one read-only registry (OCI distribution-spec v1.1, pull), straight from the files.
 *
 * Every bundle is authenticated and every byte hashed before anything is served. A file that changes afterwards is no
 * longer served.
 *
 * @throws AirgapError `USAGE`, `VERIFICATION_FAILED`, `NAME_CONFLICT`, `TLS`, `NETWORK`, `FILE`; the signal's reason if
 *   aborted.
 */
export async function serveBundles(paths: readonly string[], options: ServeRun): Promise<ServedBundles> {
  const listen = options.listen ?? { host: '127.0.0.1', port: 5000 }
  requireSafe(listen, { isTls: options.tls !== undefined, isPlainAllowed: options.allowPlainHttp ?? false })
  const bundles: OpenedBundle[] = []
  const verified: VerifiedBundle[] = []
  const closeFiles = async (): Promise<void> => {
    await Promise.all(bundles.map(({ reader }) => reader.close()))
  }
  try {
    for (const path of paths) {
      options.signal?.throwIfAborted()
      const opened = await openBundle(path, options.trust, options.signal)
      bundles.push(opened)
      const { description } = opened
      if (opened.problems.length > 0 || !description) throw verificationError(path, opened)
      verified.push({ ...opened, description })
    }
    const images = nameServedImages(bundles)
    const sources = await sourceRepositories(images)
    await options.onNamed?.(images)
    const files = await checkContent(bundles, options)
    options.signal?.throwIfAborted()
    const store = new BundleStore(sources, blobsOf(files))
    const server = await listenWith(store, {
      listen,
      isOwnName: ownNames(listen, options.advertise, options.tls && certificateIn(options.tls)),
      ignoreAccept: true,
      limits: { ...LIMITS, ...options.limits },
      tls: options.tls,
      onRequest: options.onRequest,
      onHandshakeFault: options.onHandshakeFault,
    })
    return served(server, { bundles: verified, images, sources, store, closeFiles })
  } catch (error) {
    await closeFiles()
    throw error
  }
}

/** Undefined if it is not a certificate: creating the server then throws. */
function certificateIn({ cert }: { cert: Buffer }): X509Certificate | undefined {
  try {
    return new X509Certificate(cert)
  } catch {
    return undefined
  }
}

/** Hashes every blob of every bundle. */
async function checkContent(bundles: readonly OpenedBundle[], options: ServeRun): Promise<ServedFile[]> {
  const files: ServedFile[] = []
  for (const opened of bundles) {
    files.push(await ServedFile.check(opened, options))
  }
  return files
}

/** Finds a blob in the first bundle that has it and has not changed. */
function blobsOf(files: readonly ServedFile[]): FindBlob {
  return async (digest) => {
    let fault: unknown
    for (const file of files) {
      try {
        const blob = await file.blob(digest)
        if (blob) return blob
      } catch (error) {
        fault = error
      }
    }
    if (fault !== undefined) throw fault
    return undefined
  }
}

const PATIENCE = 10_000

function served(
  server: RunningServer,
  {
    bundles,
    images,
    sources,
    store,
    closeFiles,
  }: {
    bundles: readonly VerifiedBundle[]
    images: readonly ServedImage[]
    sources: readonly SourceRepository[]
    store: BundleStore
    closeFiles: () => Promise<void>
  },
): ServedBundles {
  let closed: Promise<void> | undefined
  const stop = async (patience = PATIENCE): Promise<void> => {
    await server.drain(patience)
    closed ??= closeFiles()
    await closed
  }
  return {
    url: server.url,
    bundles,
    images,
    repositories: store.repositories(),
    ambiguous: ambiguousNames(sources),
    active: () => server.active(),
    stop,
    [Symbol.asyncDispose]: () => stop(0),
  }
}

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
