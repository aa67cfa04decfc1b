import { randomUUID } from 'node:crypto'
import { digestFault, digestOf, isDigest, type Digest } from '../../../src/oci/digest.ts'
import { isRepository } from '../../../src/oci/reference.ts'
import { empty, fault, notAllowed, type Reply } from '../../../src/serve/registry/reply.ts'
import type { EmbeddedRequest } from './registry.ts'
import type { MemoryStore } from './memory-store.ts'
import type { ByteRange } from '../../../src/serve/registry/reads.ts'

/** An upload that has been started and not yet finished. */
export interface UploadSession {
  id: string
  repository: string
  chunks: Uint8Array[]
  /** Bytes received so far; only whole chunks count. */
  size: number
  /** Which request may add to it: the latest one that began to. */
  turn: number
}

const MAX_SESSIONS = 1000

export class UploadSessions {
  readonly #sessions = new Map<string, UploadSession>()

  /** @returns undefined where too many are open */
  start(repository: string): UploadSession | undefined {
    if (this.#sessions.size >= MAX_SESSIONS) return undefined
    const session = { id: randomUUID(), repository, chunks: [], size: 0, turn: 0 }
    this.#sessions.set(session.id, session)
    return session
  }

  find(repository: string, id: string): UploadSession | undefined {
    const session = this.#sessions.get(id)
    return session?.repository === repository ? session : undefined
  }

  end(session: UploadSession): void {
    session.turn++
    this.#sessions.delete(session.id)
  }
}

export interface UploadContext {
  store: MemoryStore
  sessions: UploadSessions
  /** Bytes. */
  maxBlobSize: number
  /** What becomes of a session whose client breaks off in the middle of a chunk; `forget-chunk` where left out. */
  onBrokenChunk?: BrokenChunk | undefined
}

export type BrokenChunk = 'forget-chunk' | 'keep-what-came' | 'end-session'

/**
 * `POST /v2/<name>/blobs/uploads/`: mounts a blob, takes a whole one, or opens a session (distribution-spec
 * § Pushing a blob monolithically, § Mounting a blob from another repository).
 */
export async function startUpload(
  request: EmbeddedRequest,
  repository: string,
  context: UploadContext,
): Promise<Reply> {
  const { store, sessions, maxBlobSize } = context
  if (request.method !== 'POST') return notAllowed('POST')

  const mount = request.query.get('mount')
  const from = request.query.get('from')
  if (mount !== null) {
    if (!isDigest(mount)) return badDigest(mount)
    if (from !== null && !isRepository(from))
      return fault(400, 'NAME_INVALID', 'from is not a repository name')
    if (from !== null && store.mountBlob(from, repository, mount)) {
      return created(request, repository, mount)
    }
  }
  const digest = request.query.get('digest')
  if (mount === null && digest !== null) {
    if (!isDigest(digest)) return badDigest(digest)
    const chunks = await request.readBody(maxBlobSize)
    return chunks ? await finish(request, repository, digest, chunks, store) : tooLarge(maxBlobSize)
  }
  const session = sessions.start(repository)
  return session
    ? progress(request, session, 202)
    : fault(429, 'TOOMANYREQUESTS', 'too many uploads are open', { 'Retry-After': '1' })
}

/** `GET`, `PATCH`, `PUT` and `DELETE` on the Location of an upload session (§ Pushing a blob in chunks). */
export async function continueUpload(
  request: EmbeddedRequest,
  route: { repository: string; id: string },
  context: UploadContext,
): Promise<Reply> {
  const { store, sessions } = context
  const session = sessions.find(route.repository, route.id)
  if (!session) return fault(404, 'BLOB_UPLOAD_UNKNOWN', 'there is no such upload')
  if (request.method === 'GET') return progress(request, session, 204)
  if (request.method === 'DELETE') {
    sessions.end(session)
    return empty(204)
  }
  if (request.method !== 'PATCH' && request.method !== 'PUT') return notAllowed('GET, PATCH, PUT, DELETE')

  const digest = request.query.get('digest')
  if (request.method === 'PATCH') {
    return (await append(request, session, context)) ?? progress(request, session, 202)
  }
  if (digest === null || !isDigest(digest)) return badDigest(digest ?? '')
  const refusal = await append(request, session, context)
  if (refusal) return refusal
  sessions.end(session)
  return await finish(request, session.repository, digest, session.chunks, store)
}

/**
 * Adds the request's body to the session as a whole: a body that breaks off adds nothing, so that the client
 * can ask where to go on. A later request takes over from one still under way, which this server may not yet
 * know to be dead.
 * @returns the refusal, or undefined where it was added.
 */
async function append(
  request: EmbeddedRequest,
  session: UploadSession,
  context: UploadContext,
): Promise<Reply | undefined> {
  const header = request.headers['content-range']
  const range = header === undefined ? undefined : parseChunkRange(header)
  if (header !== undefined && !range) return fault(400, 'BLOB_UPLOAD_INVALID', 'Content-Range is FIRST-LAST')
  if (range && range.start !== session.size) {
    return fault(
      416,
      'BLOB_UPLOAD_INVALID',
      `the next byte expected is ${session.size}`,
      where(request, session),
    )
  }
  const turn = ++session.turn
  const received: Uint8Array[] = []
  let chunks: Uint8Array[] | undefined
  try {
    chunks = await request.readBody(context.maxBlobSize - session.size, received)
  } catch (error) {
    if (session.turn === turn) broken(session, received, context)
    throw error
  }
  if (session.turn !== turn)
    return fault(409, 'BLOB_UPLOAD_INVALID', 'another request has taken over this upload')
  if (!chunks) {
    context.sessions.end(session)
    return tooLarge(context.maxBlobSize)
  }
  const size = lengthOf(chunks)
  if (range && size !== range.end - range.start) {
    return fault(
      400,
      'SIZE_INVALID',
      `Content-Range announced ${range.end - range.start} bytes, ${size} came`,
    )
  }
  add(session, chunks)
  return undefined
}

function broken(session: UploadSession, received: Uint8Array[], context: UploadContext): void {
  if (context.onBrokenChunk === 'end-session') context.sessions.end(session)
  if (context.onBrokenChunk === 'keep-what-came') add(session, received)
}

function add(session: UploadSession, chunks: readonly Uint8Array[]): void {
  session.chunks.push(...chunks)
  session.size += lengthOf(chunks)
}

function lengthOf(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((sum, chunk) => sum + chunk.length, 0)
}

async function finish(
  request: EmbeddedRequest,
  repository: string,
  digest: Digest,
  chunks: Uint8Array[],
  store: MemoryStore,
): Promise<Reply> {
  const bytes = Buffer.concat(chunks)
  const actual = digestOf(bytes)
  if (actual !== digest) return fault(400, 'DIGEST_INVALID', `the content's digest is ${actual}`)
  store.putBlob(repository, bytes, actual)
  return created(request, repository, digest)
}

function created(request: EmbeddedRequest, repository: string, digest: Digest): Reply {
  return empty(201, {
    Location: `${request.origin}/v2/${repository}/blobs/${digest}`,
    'Docker-Content-Digest': digest,
  })
}

function progress(request: EmbeddedRequest, session: UploadSession, status: number): Reply {
  return empty(status, where(request, session))
}

function where(request: EmbeddedRequest, session: UploadSession): Record<string, string> {
  return {
    Location: `${request.origin}/v2/${session.repository}/blobs/uploads/${session.id}`,
    Range: `0-${Math.max(0, session.size - 1)}`,
    'Docker-Upload-UUID': session.id,
  }
}

function badDigest(text: string): Reply {
  return fault(400, 'DIGEST_INVALID', digestFault(text))
}

function tooLarge(limit: number): Reply {
  return fault(413, 'SIZE_INVALID', `a blob has at most ${limit} bytes here`)
}

/**
 * Reads the `Content-Range` of an upload's chunk, which is `FIRST-LAST` with no unit (distribution-spec
 * § Pushing a blob in chunks).
 * @returns undefined where it is something else.
 */
export function parseChunkRange(header: string): ByteRange | undefined {
  const match = /^(\d{1,15})-(\d{1,15})$/.exec(header)
  if (!match) return undefined
  const start = Number(match[1])
  const end = Number(match[2]) + 1
  return end > start ? { start, end } : undefined
}
