import type { IncomingMessage, ServerResponse } from 'node:http'
import { AirgapError, messageOf } from '../../errors.ts'
import { isRegistryHost } from '../../oci/reference.ts'
import { listReferrers, listRepositories, listTags, readBlob, readManifest } from './reads.ts'
import { createHttpServer, listen, type ConnectionLimits } from './http-server.ts'
import { fault, json, send, type Reply } from './reply.ts'
import { logEntry, parseRoute, type RegistryRequest, type RequestLogEntry } from './request.ts'
import type { ContentStore } from './store.ts'

export interface ServerOptions {
  /** PEM. Without it the server speaks plain HTTP. */
  tls?: { key: string | Buffer; cert: string | Buffer } | undefined
  /** 127.0.0.1 and any free port where left out. */
  listen?: { host?: string; port?: number }
  /** Send a manifest as it is, whatever the Accept header says; without it, one that the header leaves out is a 404. */
  ignoreAccept?: boolean
  /** Node's own where left out, except that idle connections stay open for a minute. */
  limits?: ConnectionLimits
  /** Whether a request that names this host is meant for this server; any is where left out. */
  isOwnName?: (hostname: string) => boolean
  /** Answers in place of this registry, or changes what it answers: `next` is the registry's own answer. */
  around?: (request: RegistryRequest, next: () => Promise<Reply>) => Promise<Reply>
  /** Called with each request's log entry as it begins; the entry is filled in as the request goes on. */
  onArrival?: (entry: RequestLogEntry) => void
  /** Called once for each request, when it is over. */
  onRequest?: ((entry: RequestLogEntry) => void) | undefined
  /** A TLS handshake failed, for instance because the client does not know our authority. A client that is gone has no address. */
  onHandshakeFault?: ((remote: string | undefined, message: string) => void) | undefined
}

export interface RunningServer {
  /** `http://127.0.0.1:PORT` */
  url: string
  /** `127.0.0.1:PORT` */
  host: string
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

/**
 * Serves a store's content as a read-only registry (OCI distribution-spec v1.1, pull).
 * @throws AirgapError `NETWORK` where the address cannot be listened on, `TLS` where key or certificate are bad.
 */
export async function serve(store: ContentStore, options: ServerOptions = {}): Promise<RunningServer> {
  const scheme = options.tls ? 'https' : 'http'
  let host = ''
  let active = 0
  let isDraining = false

  async function answer(request: RegistryRequest): Promise<Reply> {
    const own = (): Promise<Reply> => dispatch(request, store, options.ignoreAccept ?? false)
    return await (options.around?.(request, own) ?? own())
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
    options.onArrival?.(entry)
    const named = message.headers.host ?? ''
    const request: RegistryRequest = {
      method: entry.method,
      path,
      query,
      headers: message.headers,
      route: parseRoute(path),
      origin: `${scheme}://${isRegistryHost(named) ? named : host}`,
      message,
      entry,
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
    `this registry does not go by the name ${JSON.stringify(named.slice(0, 255))}; whoever runs it can give it one`,
  )
}

async function dispatch(
  request: RegistryRequest,
  whole: ContentStore,
  ignoreAccept: boolean,
): Promise<Reply> {
  const { route, method } = request
  const namespace = request.query.get('ns')
  const store = namespace ? (whole.inNamespace?.(namespace) ?? whole) : whole
  const isRead = method === 'GET' || method === 'HEAD'
  if (route.kind === 'unknown') return fault(404, 'UNSUPPORTED', 'there is nothing at this path')
  if (route.kind === 'invalid') {
    // What cannot be a tag is not there: the conformance suite looks for a manifest under such a name.
    return route.code === 'TAG_INVALID' && isRead
      ? fault(404, 'MANIFEST_UNKNOWN', route.message)
      : fault(400, route.code, route.message)
  }
  if (!isRead) return fault(405, 'UNSUPPORTED', 'this registry is read-only', { Allow: 'GET, HEAD' })
  switch (route.kind) {
    case 'base':
      return json({})
    case 'catalog':
      return await listRepositories(request, store)
    case 'tags':
      return await listTags(request, route.repository, store)
    case 'manifest':
      return await readManifest(request, route, store, ignoreAccept)
    case 'blob':
      return await readBlob(request, route, store)
    case 'uploads':
    case 'upload':
      return fault(405, 'UNSUPPORTED', 'this registry is read-only', { Allow: '' })
    case 'referrers':
      return await listReferrers(request, route, store)
  }
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
