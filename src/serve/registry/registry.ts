import type { IncomingMessage, ServerResponse } from 'node:http'
import { AirgapError, messageOf } from '../../errors.ts'
import { isRegistryHost } from '../../oci/reference.ts'
import { answerReferrers, listRepositories, listTags, readBlob, answerManifest } from './reads.ts'
import { createHttpServer, listen, type ConnectionLimits } from './http-server.ts'
import { fault, json, send, type Reply } from './reply.ts'
import { logEntry, parseRoute, type RegistryRequest, type RequestLogEntry } from './request.ts'
import type { ContentStore } from './store.ts'

export interface ServerOptions {
  /** PEM. Without it the server speaks plain HTTP. */
  tls?: { key: string | Buffer; cert: string | Buffer } | undefined
  /** By default 127.0.0.1 and any free port. */
  listen?: { host?: string; port?: number }
  /** Ignore the Accept header. Otherwise, a manifest whose type is not in the header is answered with 404. */
  ignoreAccept?: boolean
  /** By default Node's limits, except that idle connections stay open for a minute. */
  limits?: ConnectionLimits
  /** Whether a host name in a request means this server. By default any name does. */
  isOwnName?: (hostname: string) => boolean
  /** Replaces or changes this registry's answers; `next` gives its own answer. */
  around?: (request: RegistryRequest, next: () => Promise<Reply>) => Promise<Reply>
  /** Called at the beginning of each request with its log entry, which is filled in while the request goes on. */
  onArrival?: (entry: RequestLogEntry) => void
  /** Called once for each request, at its end. */
  onRequest?: ((entry: RequestLogEntry) => void) | undefined
  /**
   * Called if a TLS handshake fails, for instance because the client does not trust our CA.
   * @param remote the client's address; undefined if the client has gone.
   */
  onHandshakeFault?: ((remote: string | undefined, message: string) => void) | undefined
}

export interface RunningServer {
  /** `http://127.0.0.1:PORT` */
  url: string
  /** `127.0.0.1:PORT` */
  host: string
  /** The number of requests being answered. */
  active(): number
  /**
   * Accepts no more connections, lets running requests finish, and ends the server.
   * @param patience milliseconds after which connections that are still open are closed.
   */
  drain(patience: number): Promise<void>
  /** Ends the server and closes all open connections. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Serves a store's content as a read-only registry (OCI distribution-spec v1.1, pull).
 * @throws AirgapError `NETWORK` if it cannot listen on the address, `TLS` if key or certificate cannot be used.
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

  /** Refuses foreign host names: a web page could point its own name here and read our content (DNS rebinding). */
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
      // Connections that were busy when draining began would otherwise stay open for another request.
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

/** The host name without the port, which can differ behind port forwarding. */
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
    `this registry does not answer to the name ${JSON.stringify(named.slice(0, 255))}; its operator can allow the name`,
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
    // An invalid tag is 404 for reads: the conformance suite asks for a manifest under such a name.
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
      return await answerManifest(request, route, store, ignoreAccept)
    case 'blob':
      return await readBlob(request, route, store)
    case 'uploads':
    case 'upload':
      return fault(405, 'UNSUPPORTED', 'this registry is read-only', { Allow: '' })
    case 'referrers':
      return await answerReferrers(request, route, store)
  }
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
