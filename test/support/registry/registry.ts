import type { IncomingMessage } from 'node:http'
import { AirgapError } from '../../../src/errors.ts'
import { serve, type RunningServer, type ServerOptions } from '../../../src/serve/registry/registry.ts'
import { empty, fault, notAllowed, type Reply } from '../../../src/serve/registry/reply.ts'
import type { RegistryRequest, RequestLogEntry } from '../../../src/serve/registry/request.ts'
import { authenticator, type AuthOptions } from './auth.ts'
import { deleteManifest, writeManifest } from './manifests.ts'
import { MemoryStore } from './memory-store.ts'
import { quirkSet, type Quirk } from './quirks.ts'
import { brokenChunks } from './quirks/uploads.ts'
import { continueUpload, startUpload, UploadSessions, type UploadContext } from './uploads.ts'

export interface EmbeddedRequest extends RegistryRequest {
  /**
   * Reads the whole body.
   * @param limit bytes
   * @param into gets the pieces as they come; where the client breaks off it holds those that came.
   * @returns undefined where it is longer; the rest is then thrown away unread.
   */
  readBody(limit: number, into?: Uint8Array[]): Promise<Uint8Array[] | undefined>
}

export interface EmbeddedRegistryOptions extends Omit<ServerOptions, 'around' | 'onArrival'> {
  /** What to serve, for instance one that another registry serves too; an empty one where left out. */
  store?: MemoryStore
  auth?: AuthOptions
  /** Named misbehaviours. */
  quirks?: readonly Quirk[]
  /** Asked before everything else, to imitate a product around a registry: an answer, or undefined to go on. */
  front?: (request: EmbeddedRequest) => Promise<Reply | undefined>
  /** Take an index whose children are not there, as registries do that are configured so. */
  sparseIndexes?: boolean
  /** Where quirks that redirect send clients: `http://host:port`. */
  redirectTo?: string
  /** Bytes of the largest blob that is taken; 1 GiB where left out. */
  maxBlobSize?: number
}

export interface EmbeddedRegistry extends RunningServer {
  store: MemoryStore
  /** Every request in order of arrival; an entry is there from the start and is filled in as it goes. */
  requests: RequestLogEntry[]
  /** Makes every bearer token given out so far worthless, as if it had expired. */
  revokeTokens(): void
}

/**
 * Starts a registry that keeps its content in memory and takes pulls and pushes (OCI distribution-spec v1.1).
 * @throws AirgapError `NETWORK` where the address cannot be listened on, `TLS` where key or certificate are bad.
 */
export async function startRegistry(options: EmbeddedRegistryOptions = {}): Promise<EmbeddedRegistry> {
  const store = options.store ?? new MemoryStore()
  const requests: RequestLogEntry[] = []
  const auth = authenticator(options.auth)
  const quirks = quirkSet(options.quirks ?? [], options.redirectTo, () => auth.revokeTokens())
  const uploads: UploadContext = {
    store,
    sessions: new UploadSessions(),
    maxBlobSize: options.maxBlobSize ?? 1024 ** 3,
    onBrokenChunk: brokenChunks(options.quirks ?? []),
  }
  const server = await serve(store, {
    ...options,
    onArrival: (entry) => requests.push(entry),
    async around(given, read) {
      const { message, entry } = given
      const request: EmbeddedRequest = Object.assign(given, {
        readBody: async (limit: number, into?: Uint8Array[]) => await readBody(message, limit, entry, into),
      })
      const first = (await options.front?.(request)) ?? quirks.front(request)
      if (first) return first
      const reply =
        (await auth.token(request)) ??
        auth.check(request) ??
        (await quirks.inside(request)) ??
        (await write(request, uploads, options.sparseIndexes ?? false)) ??
        (await read())
      return quirks.after(request, reply)
    },
  })
  return { ...server, store, requests, revokeTokens: () => auth.revokeTokens() }
}

/** Answers what is not a matter of reading; undefined for the rest. */
async function write(
  request: EmbeddedRequest,
  uploads: UploadContext,
  sparseIndexes: boolean,
): Promise<Reply | undefined> {
  const { route, method } = request
  if (route.kind === 'uploads') return await startUpload(request, route.repository, uploads)
  if (route.kind === 'upload') return await continueUpload(request, route, uploads)
  if (method === 'GET' || method === 'HEAD') return undefined
  const { store } = uploads
  switch (route.kind) {
    case 'invalid':
    case 'unknown':
      return undefined
    case 'manifest':
      if (method === 'PUT') return await writeManifest(request, route, store, sparseIndexes)
      return method === 'DELETE' ? await deleteManifest(route, store) : notAllowed('GET, HEAD, PUT, DELETE')
    case 'blob':
      if (method !== 'DELETE') return notAllowed('GET, HEAD, DELETE')
      return store.deleteBlob(route.repository, route.digest)
        ? empty(202)
        : fault(404, 'BLOB_UNKNOWN', `${route.repository} has no blob ${route.digest}`)
    case 'base':
    case 'catalog':
    case 'tags':
    case 'referrers':
      return notAllowed('GET, HEAD')
  }
}

/** See {@link EmbeddedRequest.readBody}. Throws where the client breaks off. */
async function readBody(
  message: IncomingMessage,
  limit: number,
  entry: RequestLogEntry,
  chunks: Uint8Array[] = [],
): Promise<Uint8Array[] | undefined> {
  if (Number(message.headers['content-length'] ?? 0) > limit) return undefined
  let size = 0
  return await new Promise((resolve, reject) => {
    message.on('data', (chunk: Uint8Array) => {
      size += chunk.length
      entry.bytesReceived += chunk.length
      if (size <= limit) {
        chunks.push(chunk)
        return
      }
      // The rest is read and dropped: closing a connection on unread data may lose the answer (RFC 9112 § 9.6).
      chunks.length = 0
      resolve(undefined)
    })
    message.once('end', () => resolve(chunks))
    message.once('error', reject)
    message.once('close', () => reject(new AirgapError('NETWORK', 'the client closed the connection')))
  })
}
