import { AirgapError } from '../../../errors.ts'
import type { Answer } from '../../net/connection.ts'
import { printableUrl } from '../../net/hosts.ts'
import type { Location } from '../../net/location.ts'
import { type Context, during } from '../../notices.ts'
import { discard, failure, headerOf, locationOf } from '../../net/http.ts'
import { isAboutUpload } from './refusals.ts'
import type { Digest } from '../../../oci/digest.ts'
import { statBlobOnce } from '../blobs.ts'
import { isRepository } from '../../../oci/reference.ts'
import type { BlobSource, UploadDescriptor } from './source.ts'
import type { UploadHabits } from './habits.ts'
import type { UploadMemory } from '../../../content/source.ts'

const REFUSALS = new Set(['UNAUTHORIZED', 'DENIED', 'NOT_FOUND'])

/** See {@link Repository.mountBlob}; distribution-spec § Mounting a blob from another repository. */
export async function mountBlob(
  repository: Location,
  digest: Digest,
  fromRepository: string,
  signal?: AbortSignal,
): Promise<boolean> {
  const context = repository.context(
    `mount the blob ${digest} from ${fromRepository} into ${repository.name}`,
  )
  if (!isRepository(fromRepository)) {
    throw new AirgapError('INVALID_REFERENCE', `${JSON.stringify(fromRepository)} is not a repository`)
  }
  const query = new URLSearchParams({ mount: digest, from: fromRepository }).toString()
  const answer = await repository.connection
    .retrying(context, signal, async () => {
      const tried = await repository.connection.send({
        method: 'POST',
        target: `/v2/${repository.repository}/blobs/uploads/?${query}`,
        repository: repository.repository,
        scopes: [repository.push, `repository:${fromRepository}:pull`],
        context,
        signal,
      })
      if (tried.status === 429 || tried.status === 503) throw await failure(tried, tried.auth, context)
      return tried
    })
    .catch((error: unknown) => {
      // The token service may refuse the scopes of the mount. The upload that follows requests less, or fails itself.
      if (error instanceof AirgapError && REFUSALS.has(error.code)) return undefined
      throw error
    })
  if (answer === undefined) return false
  discard(answer)
  if (answer.status === 201) {
    checkStored(answer, digest, context)
    return true
  }
  if (answer.status === 202) repository.sessions.set(digest, sessionUrl(repository, answer, context))
  return false
}

/**
 * A registry may copy the whole blob to its final place before it answers. The slowest rate to expect, bytes a second.
 */
const COPY_RATE = 5 * 1024 ** 2
const LONGEST_COPY_MS = 15 * 60 * 1000

/**
 * How long the last answer to an upload may take: the stall timeout plus the time for copying the blob. Milliseconds.
 */
export function commitTimeout({ repository, descriptor }: UploadTask): number {
  const copying = Math.min((descriptor.size / COPY_RATE) * 1000, LONGEST_COPY_MS)
  return Math.round(repository.connection.transport.stallTimeoutMs + copying)
}

/** The Location with the digest added to its query; the rest of the query is unchanged. */
export function commitUrl(session: URL, digest: Digest): URL {
  const target = new URL(session)
  target.search += `${target.search === '' ? '' : '&'}digest=${encodeURIComponent(digest)}`
  return target
}

/**
 * Checks a success of the last PUT: 201 means stored; after any other status the registry is asked for the blob.
 * @throws AirgapError `CONTENT_MISMATCH`, `REGISTRY`
 */
export async function confirmStored(
  { repository, descriptor, context, signal }: UploadTask,
  answer: Answer,
): Promise<void> {
  const { digest, size } = descriptor
  discard(answer)
  if (answer.status === 201) return checkStored(answer, digest, context)
  const there = await statBlobOnce(repository, digest, context, signal)
  if (there !== undefined && (there.size === undefined || there.size === size)) return
  throw new AirgapError(
    'REGISTRY',
    `${repository.registry} answers ${answer.status} but does not have the blob`,
    { ...during(context) },
  )
}

/** @throws AirgapError `CONTENT_MISMATCH` when the registry says that it has stored something else. */
export function checkStored(answer: Answer, digest: Digest, context: Context): void {
  const stored = headerOf(answer, 'docker-content-digest')
  if (stored === undefined || stored === digest) return
  throw new AirgapError(
    'CONTENT_MISMATCH',
    `${context.registry} stored it as ${JSON.stringify(stored.slice(0, 80))}`,
    { ...during(context) },
  )
}

/** An upload that the registry has opened. */
export interface UploadSession {
  url: URL
  /** The minimum size of a chunk, except the last. Bytes. */
  minLength: number
}

/** A registry's answer to how far an upload is. */
export type UploadStatus =
  | { kind: 'at'; bytes: number; url: URL }
  /** There is no such upload. */
  | { kind: 'gone' }
  /** The registry does not say. */
  | { kind: 'unknown' }

type Task = Pick<UploadTask, 'repository' | 'context' | 'signal'>

/** How long a registry may take to cancel a session. */
const CANCEL_TIMEOUT_MS = 5000

/**
 * Opens an upload session (distribution-spec § Pushing blobs). Also cancels abandoned sessions, since the registry
 * answers again.
 * @throws AirgapError as every request; `REGISTRY` for a Location that cannot be used.
 */
export async function startSession(task: UploadTask): Promise<UploadSession> {
  const { repository, context, signal } = task
  const answer = await repository.connection.expect([202], {
    method: 'POST',
    target: `/v2/${repository.repository}/blobs/uploads/`,
    repository: repository.repository,
    scopes: [repository.push],
    context,
    signal,
  })
  discard(answer)
  const least = headerOf(answer, 'oci-chunk-min-length') ?? ''
  const url = sessionUrl(repository, answer, context)
  for (const old of task.abandoned.splice(0)) await cancelSession(task, old)
  return {
    url,
    minLength: /^[0-9]{1,15}$/.test(least) ? Number(least) : 0,
  }
}

/**
 * The URL to upload to. `send` sends credentials there only if it is the registry's own origin.
 * @throws AirgapError `REGISTRY`
 */
export function sessionUrl(repository: Location, answer: Answer, context: Context): URL {
  const url = locationOf(answer, context)
  if (repository.connection.transport.isDowngrade(answer.url, url)) {
    throw new AirgapError(
      'REGISTRY',
      `${repository.registry} sends the upload from HTTPS to plain HTTP (${printableUrl(url)})`,
      {
        ...during(context),
        hint: 'A proxy in front of the registry probably hides that the client used HTTPS: have it send X-Forwarded-Proto, or set http.relativeurls in docker-registry.',
      },
    )
  }
  return url
}

/** The session's URL after an answer: some registries give a new Location each time, some give none. */
export function movedTo({ repository, context }: Task, answer: Answer, from: URL): URL {
  return headerOf(answer, 'location') === undefined ? from : sessionUrl(repository, answer, context)
}

/**
 * Asks how far a session is (distribution-spec § Pushing a blob in chunks, the GET after a 416).
 * @throws AirgapError for refusals and for errors that may pass.
 */
export async function askStatus(task: Task, url: URL): Promise<UploadStatus> {
  const { repository, context, signal } = task
  const answer = await repository.connection.send({
    method: 'GET',
    target: url,
    repository: repository.repository,
    scopes: [repository.push],
    context,
    signal,
  })
  const { status } = answer
  if (status >= 200 && status < 300) {
    discard(answer)
    const bytes = bytesIn(headerOf(answer, 'range'))
    return bytes === undefined ? { kind: 'unknown' } : { kind: 'at', bytes, url: movedTo(task, answer, url) }
  }
  const error = await failure(answer, answer.auth, context)
  if (status === 404 || status === 410) return { kind: 'gone' }
  if (status === 405 || status === 501) return { kind: 'unknown' }
  // crane's registry does not support this GET, and takes the session's name for a digest.
  if (status === 400) return { kind: isAboutUpload(error) ? 'gone' : 'unknown' }
  throw error
}

/**
 * The number of bytes in the Range header of an upload: `0-N`, where byte N is included. The form of other registries
 * (`bytes=0-N`) is accepted, too. Most registries answer `0-0` for an upload without a byte, so that counts as 0.
 * @returns undefined where it does not say.
 */
export function bytesIn(range: string | undefined): number | undefined {
  const last = /^\s*(?:bytes[= ]\s*)?0-([0-9]{1,15})\s*$/i.exec(range ?? '')?.[1]
  if (last === undefined) return undefined
  return last === '0' ? 0 : Number(last) + 1
}

/** Cancels a session, so that the registry need not keep its bytes. Failures are ignored. */
async function cancelSession({ repository, context, signal }: Task, url: URL): Promise<void> {
  const patience = AbortSignal.timeout(CANCEL_TIMEOUT_MS)
  try {
    discard(
      await repository.connection.send({
        method: 'DELETE',
        target: url,
        repository: repository.repository,
        scopes: [repository.push],
        context,
        signal: signal === undefined ? patience : AbortSignal.any([signal, patience]),
      }),
    )
  } catch {
    // Registries drop old sessions by themselves sooner or later. An interruption takes effect at the next step.
  }
}

/** One blob's upload, with what each of its steps needs. */
export interface UploadTask {
  repository: Location
  descriptor: UploadDescriptor
  context: Context
  source: BlobSource
  habits: UploadHabits
  memory: UploadMemory | undefined
  /** Sessions that are no longer needed. */
  abandoned: URL[]
  /** Gets the number of bytes of the blob sent so far. */
  onProgress: (bytes: number) => void
  signal: AbortSignal | undefined
}

interface UploadRequest {
  method: 'PUT' | 'PATCH'
  target: URL
  /** The part of the blob that is sent. Bytes. */
  start: number
  end: number
  headers?: Record<string, string>
  answerTimeoutMs?: number
}

/**
 * Sends a part of a blob. Fails if the registry stops taking bytes. A 401 is answered, and the part sent again.
 * @throws AirgapError as every request, and the errors of the blob's source.
 */
export async function sendPart(task: UploadTask, request: UploadRequest): Promise<Answer> {
  const { repository, source, context, signal, onProgress } = task
  const { method, target, start, end, headers, answerTimeoutMs } = request
  const stalled = new AbortController()
  const watch = {
    onProgress,
    stallTimeoutMs: repository.connection.transport.stallTimeoutMs,
    onStall: () => stalled.abort(),
  }
  try {
    return await repository.connection.send({
      method,
      target,
      repository: repository.repository,
      scopes: [repository.push],
      headers: {
        'content-type': 'application/octet-stream',
        'content-length': String(end - start),
        ...headers,
      },
      ...(end > start ? { body: () => source.body(start, end, watch) } : {}),
      answerTimeoutMs,
      context,
      signal: signal === undefined ? stalled.signal : AbortSignal.any([signal, stalled.signal]),
    })
  } catch (error) {
    // An error of the source is reported as such, not as a network error.
    if (source.fault !== undefined) throw source.fault
    if (stalled.signal.aborted && signal?.aborted !== true) {
      throw new AirgapError('NETWORK', `${repository.registry} stopped taking bytes`, {
        ...during(context),
      }).with({ transience: {} })
    }
    throw error
  } finally {
    source.close()
  }
}
