import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { isRepository } from '../oci/reference.ts'
import { statBlobOnce } from './blobs.ts'
import type { Answer } from './connection.ts'
import { printableUrl } from './hosts.ts'
import type { Context } from './notices.ts'
import type { Location } from './location.ts'
import { markTransient } from './retry.ts'
import { discard, failure, headerOf, locationOf } from './transport.ts'

/** A registry may copy the whole blob to its final place before it answers. */
const COMMIT_TIMEOUT_MS = 300_000

export interface UploadSource {
  digest: Digest
  /** Bytes. */
  size: number
}

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
      // The token service may refuse what the mount needs; the upload that follows asks for less, or fails itself.
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

const REFUSALS = new Set(['UNAUTHORIZED', 'DENIED', 'NOT_FOUND'])

const SESSION_GONE = new Set([400, 404, 410, 416])

/** See {@link Repository.uploadBlob}; distribution-spec § Pushing a blob monolithically, POST then PUT. */
export async function uploadBlob(
  repository: Location,
  descriptor: UploadSource,
  open: () => AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
  onProgress?: (bytes: number) => void,
): Promise<void> {
  const { digest } = descriptor
  const context = repository.context(`upload the blob ${digest} to ${repository.name}`)
  await repository.connection.retrying(context, signal, async (attempt) => {
    // The answer to the attempt before may have been lost after the registry had taken the blob.
    if (attempt > 1 && (await statBlobOnce(repository, digest, context, signal))?.size === descriptor.size)
      return
    const left = repository.sessions.get(digest)
    repository.sessions.delete(digest)
    const session = left ?? (await startSession(repository, context, signal))
    const answer = await send(repository, session, descriptor, open, context, signal, onProgress)
    if (answer.status === 201) {
      discard(answer)
      return checkStored(answer, digest, context)
    }
    if (answer.status >= 200 && answer.status < 300) {
      discard(answer)
      if ((await statBlobOnce(repository, digest, context, signal)) !== undefined) return
      throw new AirgapError(
        'REGISTRY',
        `cannot ${context.operation}: ${repository.registry} answers ${answer.status} but does not have the blob`,
      )
    }
    const error = await failure(answer, answer.auth, context)
    // A session that a mount left behind may have run out; a new one has not.
    throw left !== undefined && SESSION_GONE.has(answer.status) ? markTransient(error) : error
  })
}

async function startSession(
  repository: Location,
  context: Context,
  signal: AbortSignal | undefined,
): Promise<URL> {
  const answer = await repository.connection.expect([202], {
    method: 'POST',
    target: `/v2/${repository.repository}/blobs/uploads/`,
    repository: repository.repository,
    scopes: [repository.push],
    context,
    signal,
  })
  discard(answer)
  return sessionUrl(repository, answer, context)
}

/** Where to upload to. Credentials go there only if it is the registry's own origin, which `send` sees to. */
function sessionUrl(repository: Location, answer: Answer, context: Context): URL {
  const url = locationOf(answer, context)
  if (repository.connection.transport.isDowngrade(answer.url, url)) {
    throw new AirgapError(
      'REGISTRY',
      `cannot ${context.operation}: ${repository.registry} sends the upload from HTTPS to plain HTTP (${printableUrl(url)})`,
      {
        hint: 'A proxy in front of the registry probably hides that it was spoken to over HTTPS: have it send X-Forwarded-Proto, or set http.relativeurls in docker-registry.',
      },
    )
  }
  return url
}

async function send(
  repository: Location,
  session: URL,
  descriptor: UploadSource,
  open: () => AsyncIterable<Uint8Array>,
  context: Context,
  signal: AbortSignal | undefined,
  onProgress: ((bytes: number) => void) | undefined,
): Promise<Answer> {
  const target = new URL(session)
  target.search += `${target.search === '' ? '' : '&'}digest=${encodeURIComponent(descriptor.digest)}`
  const stalled = new AbortController()
  const body = new VerifiedBody(descriptor, open, context, {
    onProgress: onProgress ?? (() => {}),
    stallTimeoutMs: repository.connection.transport.stallTimeoutMs,
    onStall: () => stalled.abort(),
  })
  try {
    if (descriptor.size === 0) await body.check()
    return await repository.connection.send({
      method: 'PUT',
      target,
      repository: repository.repository,
      scopes: [repository.push],
      headers: { 'content-type': 'application/octet-stream', 'content-length': String(descriptor.size) },
      ...(descriptor.size === 0 ? {} : { body: () => body.stream() }),
      answerTimeoutMs: COMMIT_TIMEOUT_MS,
      context,
      signal: signal === undefined ? stalled.signal : AbortSignal.any([signal, stalled.signal]),
    })
  } catch (error) {
    // A fault of the bytes' source is told as such, not as one of the network.
    if (body.fault !== undefined) throw body.fault
    if (stalled.signal.aborted && signal?.aborted !== true) {
      throw markTransient(
        new AirgapError(
          'NETWORK',
          `cannot ${context.operation}: ${repository.registry} stopped taking bytes`,
        ),
      )
    }
    throw error
  } finally {
    body.close()
  }
}

function checkStored(answer: Answer, digest: Digest, context: Context): void {
  const stored = headerOf(answer, 'docker-content-digest')
  if (stored === undefined || stored === digest) return
  throw new AirgapError(
    'CONTENT_MISMATCH',
    `cannot ${context.operation}: ${context.registry} stored it as ${JSON.stringify(stored.slice(0, 80))}`,
  )
}

interface BodyOptions {
  onProgress: (bytes: number) => void
  stallTimeoutMs: number
  onStall: () => void
}

/** The body of an upload: hashed as it goes, its last chunk held back until the digest is seen to be right. */
class VerifiedBody {
  /** What went wrong with the bytes themselves. */
  fault: Error | undefined
  readonly #descriptor: UploadSource
  readonly #open: () => AsyncIterable<Uint8Array>
  readonly #context: Context
  readonly #options: BodyOptions
  readonly #streams: Readable[] = []

  constructor(
    descriptor: UploadSource,
    open: () => AsyncIterable<Uint8Array>,
    context: Context,
    options: BodyOptions,
  ) {
    this.#descriptor = descriptor
    this.#open = open
    this.#context = context
    this.#options = options
  }

  /** A new stream over a newly opened source. */
  stream(): Readable {
    const stream = Readable.from(this.#send(), { objectMode: false, highWaterMark: 64 * 1024 })
    // Whoever sends the stream sees its error; without a listener a late one would end the process.
    stream.on('error', () => {})
    this.#streams.push(stream)
    return stream
  }

  /** Reads and checks the source without sending it: for an empty blob. */
  async check(): Promise<void> {
    for await (const chunk of this.#verified()) void chunk
  }

  /** Lets go of the source, whichever way the request ended. */
  close(): void {
    for (const stream of this.#streams) stream.destroy()
  }

  async *#send(): AsyncGenerator<Uint8Array> {
    let sent = 0
    let timer: NodeJS.Timeout | undefined
    const { onProgress, onStall, stallTimeoutMs } = this.#options
    try {
      for await (const chunk of this.#verified()) {
        timer = setTimeout(onStall, stallTimeoutMs)
        yield chunk
        clearTimeout(timer)
        sent += chunk.length
        onProgress(sent)
      }
    } finally {
      clearTimeout(timer)
    }
  }

  async *#verified(): AsyncGenerator<Uint8Array> {
    const { digest, size } = this.#descriptor
    const hash = createHash('sha256')
    let length = 0
    let held: Uint8Array | undefined
    try {
      for await (const chunk of this.#open()) {
        if (chunk.length === 0) continue
        length += chunk.length
        if (length > size) throw this.#mismatch(`there are more than the ${size} bytes stated`)
        hash.update(chunk)
        if (held !== undefined) yield held
        held = chunk
      }
      if (length < size) throw this.#mismatch(`there are ${length} bytes instead of ${size}`)
      const actual = `sha256:${hash.digest('hex')}`
      if (actual !== digest) throw this.#mismatch(`its bytes have the digest ${actual}`)
    } catch (error) {
      this.fault = error instanceof Error ? error : new Error(String(error))
      throw error
    }
    if (held !== undefined) yield held
  }

  #mismatch(reason: string): AirgapError {
    return new AirgapError('INVALID_CONTENT', `cannot ${this.#context.operation}: ${reason}`)
  }
}
