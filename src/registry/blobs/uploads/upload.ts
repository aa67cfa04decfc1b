import { type AirgapError, transienceOf } from '../../../errors.ts'
import { statBlobOnce } from '../blobs.ts'
import type { Location } from '../../net/location.ts'

import { ChunkedUpload } from './chunks.ts'
import { habitsOf } from './habits.ts'
import { isTooLarge, UNSUPPORTED, isWrongDigest, SESSION_GONE } from './refusals.ts'
import {
  commitTimeout,
  commitUrl,
  confirmStored,
  sendPart,
  startSession,
  type UploadTask,
} from './session.ts'
import { BlobSource, type UploadDescriptor } from './source.ts'
import { failure } from '../../net/http.ts'
import type { UploadMemory } from '../../../content/source.ts'

export interface UploadOptions {
  signal?: AbortSignal | undefined
  onProgress?: ((bytes: number) => void) | undefined
  memory?: UploadMemory | undefined
}

/** See {@link Repository.uploadBlob}; distribution-spec § Pushing blobs. */
export async function uploadBlob(
  repository: Location,
  descriptor: UploadDescriptor,
  open: (from: number) => AsyncIterable<Uint8Array>,
  options: UploadOptions = {},
): Promise<void> {
  const { signal, onProgress = () => {} } = options
  const context = repository.context(`upload the blob ${descriptor.digest} to ${repository.name}`)
  const habits = habitsOf(repository.connection)
  const memory = descriptor.size < habits.small ? undefined : options.memory
  const upload = new BlobUpload({
    repository,
    descriptor,
    context,
    source: new BlobSource(descriptor, open, context),
    habits,
    memory,
    abandoned: [],
    onProgress,
    signal,
  })
  await repository.connection.retrying(
    context,
    signal,
    (attempt) => upload.attempt(attempt),
    () => upload.progressed(),
  )
  memory?.forget()
}

type Method = 'stream' | 'chunks'

/** Decides for each attempt how a blob is sent: in one stream, unless there is a reason for chunks. */
class BlobUpload {
  readonly #task: UploadTask
  readonly #chunks: ChunkedUpload
  /** The refusal of each method. A method that was refused is not tried again, so this cannot loop. */
  readonly #refusals = new Map<Method, AirgapError>()
  #brokenStreams = 0
  #hasHistory = false

  constructor(task: UploadTask) {
    this.#task = task
    this.#chunks = new ChunkedUpload(task)
  }

  progressed(): boolean {
    return this.#chunks.progressed()
  }

  async attempt(attempt: number): Promise<void> {
    const { repository, descriptor, context, signal } = this.#task
    if (attempt === 1) this.#recall()
    // The registry may have stored the blob in the last attempt, and only its answer was lost.
    else if ((await statBlobOnce(repository, descriptor.digest, context, signal))?.size === descriptor.size)
      return
    for (;;) {
      const method = this.#method()
      const refusal = method === 'stream' ? await this.#sendWhole() : await this.#chunks.run()
      if (refusal === undefined) return this.#learn(method)
      const [first] = this.#refusals.values()
      if (first !== undefined) throw first
      this.#refusals.set(method, refusal)
    }
  }

  /** After a stream that broke off in an earlier run, one stream is not tried again. */
  #recall(): void {
    const known = this.#task.memory?.recall()
    if (known === undefined) return
    this.#hasHistory = true
    if (known.location === undefined) return
    if (known.mode === 'chunks') this.#chunks.takeOver(known.location)
    else this.#task.abandoned.push(known.location)
  }

  #method(): Method {
    const { descriptor, habits } = this.#task
    if (this.#refusals.has('stream')) return 'chunks'
    if (this.#refusals.has('chunks') || descriptor.size === 0) return 'stream'
    if (this.#hasHistory || habits.wantsChunks(descriptor.size)) return 'chunks'
    return this.#brokenStreams < (descriptor.size < habits.small ? 2 : 1) ? 'stream' : 'chunks'
  }

  async #sendWhole(): Promise<AirgapError | undefined> {
    const { repository, descriptor, habits, memory } = this.#task
    const left = repository.sessions.get(descriptor.digest)
    repository.sessions.delete(descriptor.digest)
    const session = left ?? (await startSession(this.#task)).url
    await memory?.note({ mode: 'stream', location: session, acknowledged: 0 })
    let isOver = false
    try {
      const end = await sendWhole(this.#task, session, left !== undefined, () => (this.#brokenStreams += 1))
      isOver = end.kind !== 'refused'
      if (end.kind === 'stored') return undefined
      if (end.kind === 'gone') throw end.error.with({ transience: {} })
      if (isTooLarge(end.error)) habits.refuse(descriptor.size)
      return end.error
    } finally {
      if (!isOver) this.#task.abandoned.push(session)
    }
  }

  #learn(method: Method): void {
    const refused = this.#refusals.get('stream')
    if (method === 'chunks' && refused !== undefined && !isTooLarge(refused)) {
      this.#task.habits.prefersChunks = true
    }
  }
}

/** The end of an upload in one stream that did not throw. */
type StreamEnd =
  | { kind: 'stored' }
  /** The registry, or a proxy in front of it, does not take the blob this way; it may take chunks. */
  | { kind: 'refused'; error: AirgapError }
  /** The session no longer exists. */
  | { kind: 'gone'; error: AirgapError }

/**
 * Sends the whole blob in one PUT (distribution-spec § Pushing a blob monolithically).
 *
 * @param isLeft whether the session was left behind by a refused mount and may have expired.
 * @param onBroken called when the stream broke off.
 */
export async function sendWhole(
  task: UploadTask,
  session: URL,
  isLeft: boolean,
  onBroken: () => void,
): Promise<StreamEnd> {
  const { descriptor, source, context } = task
  if (descriptor.size === 0) await source.check()
  const answer = await sendPart(task, {
    method: 'PUT',
    target: commitUrl(session, descriptor.digest),
    start: 0,
    end: descriptor.size,
    answerTimeoutMs: commitTimeout(task),
  }).catch((error: unknown) => {
    if (transienceOf(error) !== undefined) onBroken()
    throw error
  })
  const { status } = answer
  if (status >= 200 && status < 300) {
    await confirmStored(task, answer)
    return { kind: 'stored' }
  }
  const error = await failure(answer, answer.auth, context)
  if (status >= 500 && status !== 501 && status !== 503) onBroken()
  // A new session cannot have expired.
  if (isLeft && SESSION_GONE.has(status)) return { kind: 'gone', error }
  // The bytes sent had the right digest, so they were altered on the way.
  if (status === 400 && isWrongDigest(error)) throw error.with({ transience: { attempts: 3 } })
  // A full registry is also full for chunks; 413 is about this request.
  if (error.refusal?.kind === 'room' && status !== 413) throw error
  if (isTooLarge(error) || UNSUPPORTED.has(status)) return { kind: 'refused', error }
  throw error
}
