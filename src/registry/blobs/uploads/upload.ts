import type { AirgapError } from '../../../errors.ts'
import { statBlobOnce } from '../blobs.ts'
import type { Location } from '../../net/location.ts'

import { ChunkedUpload } from './chunks.ts'
import { habitsOf, type UploadHabits, type UploadMemory } from './habits.ts'
import { isTooLarge } from './refusals.ts'
import { startSession } from './session.ts'
import { BlobSource, sendWhole } from './source.ts'
import type { Digest } from '../../../oci/digest.ts'
import type { Context } from '../../notices.ts'

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

type Way = 'stream' | 'chunks'

/** Decides for each attempt how a blob is sent: in one stream, unless there is a reason for chunks. */
class BlobUpload {
  readonly #task: UploadTask
  readonly #chunks: ChunkedUpload
  /** The refusal of each way. A way that was refused is not tried again, so this cannot loop. */
  readonly #refusals = new Map<Way, AirgapError>()
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
      const way = this.#way()
      const refusal = way === 'stream' ? await this.#sendWhole() : await this.#chunks.run()
      if (refusal === undefined) return this.#learn(way)
      const [first] = this.#refusals.values()
      if (first !== undefined) throw first
      this.#refusals.set(way, refusal)
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

  #way(): Way {
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

  #learn(way: Way): void {
    const refused = this.#refusals.get('stream')
    if (way === 'chunks' && refused !== undefined && !isTooLarge(refused)) {
      this.#task.habits.prefersChunks = true
    }
  }
}

/** The blob to upload. */
export interface UploadDescriptor {
  digest: Digest
  /** Bytes. */
  size: number
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
