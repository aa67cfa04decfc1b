import type { IncomingMessage, ServerResponse } from 'node:http'
import { AirgapError, messageOf } from '../errors.ts'
import { isRegistryHost } from '../oci/reference.ts'
import { authenticator, type AuthOptions } from './auth.ts'
import { blobs } from './handlers/blobs.ts'
import { listReferrers, listRepositories, listTags } from './handlers/lists.ts'
import { manifests } from './handlers/manifests.ts'
import { continueUpload, startUpload, type UploadContext } from './handlers/uploads.ts'
import { createHttpServer, listen, type ConnectionLimits } from './http-server.ts'
import { MemoryStore } from './memory-store.ts'
import { quirkSet, type Quirk } from './quirks.ts'
import { fault, json, notAllowed, type Reply } from './reply.ts'
import { logEntry, readBody, type RegistryRequest, type RequestLogEntry } from './request.ts'
import { parseRoute } from './routes.ts'
import { isWritable, type ContentStore } from './storage.ts'
import { brokenChunks } from './quirks/uploads.ts'
import { UploadSessions } from './upload-sessions.ts'
import { send } from './wire.ts'

export interface ServerOptions {
  /** PEM. Without it the server speaks plain HTTP. */
  tls?: { key: string | Buffer; cert: string | Buffer }
  auth?: AuthOptions
  /** Named misbehaviours, for tests. */
  quirks?: readonly Quirk[]
  /** Asked before everything else, to imitate a product around a registry: an answer, or undefined to go on. */
  front?: (request: RegistryRequest) => Promise<Reply | undefined>
  /** Take an index whose children are not there, as registries do that are configured so. */
  sparseIndexes?: boolean
  /** Where quirks that redirect send clients: `http://host:port`. */
  redirectTo?: string
  /** 127.0.0.1 and any free port where left out. */
  listen?: { host?: string; port?: number }
  /** Bytes of the largest blob that is taken; 1 GiB where left out. */
  maxBlobSize?: number
  /** Send a manifest as it is, whatever the Accept header says; without it, one that is left out there is a 404. */
  ignoreAccept?: boolean
  /** Node's own where left out, but for the time between two requests, which is long. */
  limits?: ConnectionLimits
  /** Whether a request that names this host is meant for this server; any is where left out. */
  isOwnName?: (hostname: string) => boolean
  /** Called once for each request, when it is over. */
  onRequest?: (entry: RequestLogEntry) => void
  /** A TLS handshake that came to nothing, for instance because the client does not know our authority. A client that is gone has no address. */
  onHandshakeFault?: (remote: string | undefined, message: string) => void
}

export interface RunningServer {
  /** `http://127.0.0.1:PORT` */
  url: string
  /** `127.0.0.1:PORT` */
  host: string
  /** Makes every bearer token given out so far worthless, as if it had expired. */
  revokeTokens(): void
  /** Requests that are being answered at this moment. */
  active(): number
  /**
   * Takes no more connections, lets the answers under way finish, and then ends.
   * @param patience milliseconds; whatever is still open then is cut off.
   */
  drain(patience: number): Promise<void>
  /** Ends the server and the connections that are still open. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export interface EmbeddedRegistryOptions extends ServerOptions {
  /** What to serve, for instance one that another registry serves too; an empty one where left out. */
  store?: MemoryStore
}

export interface EmbeddedRegistry extends RunningServer {
  store: MemoryStore
  /** Every request in order of arrival; an entry is there from the start and is filled in as it goes. */
  requests: RequestLogEntry[]
}

/**
 * Starts a registry that keeps its content in memory and takes pulls and pushes (OCI distribution-spec v1.1).
 * @throws AirgapError `NETWORK` where the address cannot be listened on, `TLS` where key or certificate are bad.
 */
export async function startRegistry(options: EmbeddedRegistryOptions = {}): Promise<EmbeddedRegistry> {
  const store = options.store ?? new MemoryStore()
  const requests: RequestLogEntry[] = []
  const server = await serve(store, options, (entry) => requests.push(entry))
  return { ...server, store, requests }
}

/**
 * Serves a store; one that cannot be written is served read-only.
 * @param onArrival called with each request's log entry as it begins.
 * @throws AirgapError as {@link startRegistry}.
 */
export async function serve(
  store: ContentStore,
  options: ServerOptions = {},
  onArrival?: (entry: RequestLogEntry) => void,
): Promise<RunningServer> {
  const scheme = options.tls ? 'https' : 'http'
  const auth = authenticator(options.auth)
  const quirks = quirkSet(options.quirks ?? [], options.redirectTo, () => auth.revokeTokens())
  const uploads: UploadContext = {
    store,
    sessions: new UploadSessions(),
    maxBlobSize: options.maxBlobSize ?? 1024 ** 3,
    onBrokenChunk: brokenChunks(options.quirks ?? []),
  }
  let host = ''
  let active = 0
  let isDraining = false

  async function answer(request: RegistryRequest): Promise<Reply> {
    const first = (await options.front?.(request)) ?? quirks.front(request)
    if (first) return first
    const reply =
      (await auth.token(request)) ??
      auth.check(request) ??
      (await quirks.inside(request)) ??
      (await dispatch(request, store, uploads, options))
    return quirks.after(request, reply)
  }

  /** A page in a browser could have its own name lead here, and read what is not meant for it (DNS rebinding). */
  function isMisdirected({ headers }: IncomingMessage): boolean {
    const { host: named } = headers
    return named !== undefined && options.isOwnName?.(hostnameIn(named)) === false
  }

  async function handle(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path, search] = splitOnce(message.url ?? '', '?')
    const query = new URLSearchParams(search)
    const entry = logEntry(message, path, query)
    const began = performance.now()
    onArrival?.(entry)
    const named = message.headers.host ?? ''
    const request: RegistryRequest = {
      method: entry.method,
      path,
      query,
      headers: message.headers,
      route: parseRoute(path),
      origin: `${scheme}://${isRegistryHost(named) ? named : host}`,
      readBody: async (limit, into) => await readBody(message, limit, entry, into),
    }
    let reply: Reply
    try {
      reply = isMisdirected(message) ? misdirected(named) : await answer(request)
    } catch (error) {
      entry.error = messageOf(error)
      const isAmbiguous = error instanceof AirgapError && error.code === 'NAME_CONFLICT'
      reply = isAmbiguous
        ? fault(400, 'NAME_INVALID', error.message)
        : fault(500, 'UNKNOWN', 'a fault inside the registry')
    }
    try {
      if (message.socket.destroyed) response.destroy()
      else await send(entry.method, response, reply, entry)
    } catch (error) {
      entry.error = messageOf(error)
      response.destroy()
    }
    entry.milliseconds = performance.now() - began
    options.onRequest?.(entry)
  }

  const listener = (message: IncomingMessage, response: ServerResponse): void => {
    active += 1
    void handle(message, response).finally(() => {
      active -= 1
      // A connection that was busy when the server was told to stop would be kept open for the next request.
      if (isDraining) setImmediate(() => server.closeIdleConnections())
    })
  }
  const server = createHttpServer(options, listener)
  host = await listen(server, options.listen)
  let ended: Promise<void> | undefined
  const end = (): Promise<void> =>
    (ended ??= new Promise<void>((resolve) => {
      server.close(() => resolve())
    }))
  const drain = async (patience: number): Promise<void> => {
    isDraining = true
    const overdue = setTimeout(() => server.closeAllConnections(), patience)
    await end()
    clearTimeout(overdue)
  }
  const close = async (): Promise<void> => {
    const closed = end()
    server.closeAllConnections()
    await closed
  }
  return {
    url: `${scheme}://${host}`,
    host,
    revokeTokens: () => auth.revokeTokens(),
    active: () => active,
    drain,
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** Without the port, which is another one behind a forwarding. */
function hostnameIn(header: string): string {
  return header
    .replace(/:[0-9]*$/, '')
    .replace(/\.$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase()
}

/** RFC 9110 § 15.5.20. */
function misdirected(named: string): Reply {
  return fault(
    421,
    'DENIED',
    `this registry does not go by the name ${JSON.stringify(named.slice(0, 255))}; airgap serve --advertise gives it one`,
  )
}

async function dispatch(
  request: RegistryRequest,
  whole: ContentStore,
  uploads: UploadContext,
  options: Pick<ServerOptions, 'ignoreAccept' | 'sparseIndexes'>,
): Promise<Reply> {
  const { route, method } = request
  const namespace = request.query.get('ns')
  const store = namespace ? (whole.inNamespace?.(namespace) ?? whole) : whole
  const isPlace = route.kind !== 'invalid' && route.kind !== 'unknown'
  if (isPlace && !isWritable(store) && method !== 'GET' && method !== 'HEAD') {
    return fault(405, 'UNSUPPORTED', 'this registry is read-only', { Allow: 'GET, HEAD' })
  }
  switch (route.kind) {
    case 'base':
      return method === 'GET' || method === 'HEAD' ? json({}) : notAllowed('GET, HEAD')
    case 'catalog':
      return await listRepositories(request, store)
    case 'tags':
      return await listTags(request, route.repository, store)
    case 'manifest':
      return await manifests(request, route, store, options)
    case 'blob':
      return await blobs(request, route, store)
    case 'uploads':
      return await startUpload(request, route.repository, uploads)
    case 'upload':
      return await continueUpload(request, route, uploads)
    case 'referrers':
      return await listReferrers(request, route, store)
    case 'invalid':
      // What cannot be a tag is not there: the conformance suite looks for a manifest under such a name.
      return route.code === 'TAG_INVALID' && (method === 'GET' || method === 'HEAD')
        ? fault(404, 'MANIFEST_UNKNOWN', route.message)
        : fault(400, route.code, route.message)
    case 'unknown':
      return fault(404, 'UNSUPPORTED', 'there is nothing at this path')
  }
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
