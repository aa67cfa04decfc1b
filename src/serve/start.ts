import { X509Certificate } from 'node:crypto'
import type { RequestLogEntry } from './registry/request.ts'
import { serve, type RunningServer } from './registry/registry.ts'
import type { ConnectionLimits } from './registry/http-server.ts'
import type { Trust } from '../verify/authenticate.ts'
import { openBundle } from '../verify/open.ts'
import type { OpenedBundle, VerifiedBundle } from '../verify/opened-bundle.ts'
import { verificationError } from '../verify/content.ts'
import type { Run } from '../content/run.ts'
import { ownNames, requireSafe, type ListenAddress } from './address.ts'
import { ambiguousNames, BundleStore } from './bundle-store.ts'
import { nameServedImages, type ServedImage } from './names.ts'
import { sourceRepositories, type FindBlob, type SourceRepository } from './repositories.ts'
import { ServedFile } from './served-file.ts'

/** How bundles are served. */
export interface ListenOptions {
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
  /** A TLS handshake failed. Must not throw. */
  onHandshakeFault?: ((remote: string | undefined, message: string) => void) | undefined
}

/** What {@link serveBundles} needs besides. The signal aborts the preparation; {@link ServedBundles.stop} ends the server. */
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
  /** Every name that a client can ask for, sorted. */
  repositories: readonly string[]
  /** Names without registry that mean several images, `NAME:TAG`, and the names to use instead. */
  ambiguous: readonly { name: string; use: string[] }[]
  /** Requests that are being answered at this moment. */
  active(): number
  /**
   * Takes no more connections, lets the transfers under way finish, and closes the files. Called again, it waits for
   * the same end, with the shorter patience of the two.
   * @param patience milliseconds, 10,000 where left out; what is still open then is cut off.
   */
  stop(patience?: number): Promise<void>
}

/** For nodes that pull with several connections each, and against clients that only hold theirs. */
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
 * Each is authenticated and every byte of it hashed before anything is served; a file that is written to after
 * that is not served any further.
 *
 * @throws AirgapError `USAGE`, `VERIFICATION_FAILED`, `NAME_CONFLICT`, `TLS`, `NETWORK`, `FILE`; the signal's reason.
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
    const server = await serve(store, {
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

/** Undefined for what is none: the server says so. */
function certificateIn({ cert }: { cert: Buffer }): X509Certificate | undefined {
  try {
    return new X509Certificate(cert)
  } catch {
    return undefined
  }
}

/** Every blob of every bundle. */
async function checkContent(bundles: readonly OpenedBundle[], options: ServeRun): Promise<ServedFile[]> {
  const files: ServedFile[] = []
  for (const opened of bundles) {
    files.push(await ServedFile.check(opened, options))
  }
  return files
}

/** The first bundle that has it and is still what it was. */
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
