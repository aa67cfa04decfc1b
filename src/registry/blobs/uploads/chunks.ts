import { type AirgapError, transienceOf } from '../../../errors.ts'
import { shortHex } from '../../../oci/digest.ts'
import type { Answer } from '../../net/connection.ts'

import { answerOf } from '../../faults/answer.ts'
import { discard, failure, headerOf } from '../../net/http.ts'
import {
  askStatus,
  bytesIn,
  commitTimeout,
  commitUrl,
  confirmStored,
  movedTo,
  sendPart,
  startSession,
  type UploadSession,
  type UploadStatus,
  type UploadTask,
} from './session.ts'
import {
  blobTooLarge,
  chunkTooLarge,
  contradiction,
  isAboutUpload,
  isTooLarge,
  isWrongDigest,
  SESSION_GONE,
  tookTooLittle,
  UNSUPPORTED,
} from './refusals.ts'

/** A session, and what is known about it. */
interface OpenSession extends UploadSession {
  /** From an earlier run: only the registry knows how far it is. */
  isRecalled: boolean
  /** Bytes may have arrived without our getting an answer. */
  isUnsure: boolean
  /** It was resumed once although the registry did not say how far it was. */
  wasGuessed: boolean
}

/** After so many more bytes, a broken upload counts as the first failure again. */
const REAL_PROGRESS = 16 * 1024 * 1024
const WRONG_DIGESTS = 3

/**
 * A blob's upload in chunks (distribution-spec § Pushing a blob in chunks). After a failure it resumes from where the
 * registry says it is. Each attempt is one {@link run}.
 */
export class ChunkedUpload {
  readonly #task: UploadTask
  #session: OpenSession | undefined
  /** Bytes that the registry has, as far as is known. */
  #acknowledged = 0
  /** The most that it has had. */
  #furthest = 0
  #mark = 0
  /** The chunk size for this blob only: a chunk that breaks off repeatedly may take too long for a server or proxy. */
  #ownSize = Number.POSITIVE_INFINITY
  #brokenAt: number | undefined
  #misplacedAt: number | undefined
  #largestAccepted = 0
  #timesTurnedAway = 0

  constructor(task: UploadTask) {
    this.#task = task
  }

  /** Resumes a session of an earlier run, if the registry still knows it. */
  takeOver(url: URL): void {
    this.#session = { url, minLength: 0, isRecalled: true, isUnsure: true, wasGuessed: false }
  }

  /** Whether the upload made progress since the last call. */
  progressed(): boolean {
    const gained = this.#furthest - this.#mark
    const isReal = gained > 0 && gained >= Math.min(REAL_PROGRESS, this.#length(0))
    if (isReal) this.#mark = this.#furthest
    return isReal
  }

  /**
   * Sends what is missing, and commits.
   * @returns undefined when the blob is stored; the refusal if the registry does not accept chunks.
   * @throws AirgapError; after a transient one, another run resumes.
   */
  async run(): Promise<AirgapError | undefined> {
    for (;;) {
      const session = await this.#ready()
      if (this.#acknowledged === this.#task.descriptor.size) {
        await this.#commit(session)
        return undefined
      }
      const refusal = await this.#sendNext(session)
      if (refusal) return refusal
    }
  }

  /** A session whose state is known: the current one, after asking the registry if needed, or a new one. */
  async #ready(): Promise<OpenSession> {
    if (this.#session?.isUnsure) await this.#ask(this.#session)
    if (this.#session) return this.#session
    const started = await startSession(this.#task)
    this.#session = { ...started, isRecalled: false, isUnsure: false, wasGuessed: false }
    this.#acknowledged = 0
    await this.#remember(this.#session)
    return this.#session
  }

  async #ask(session: OpenSession): Promise<void> {
    const { descriptor, onProgress } = this.#task
    const status = await askStatus(this.#task, session.url).catch((error: unknown): UploadStatus => {
      // If a registry refuses an old session, it may still accept a new one.
      if (session.isRecalled && isFinal(error)) return { kind: 'gone' }
      throw error
    })
    if (status.kind === 'gone') return this.#forget()
    if (status.kind === 'unknown') {
      // Our own count may be right. If it is not, the registry will say so, or the digest will be wrong.
      if (session.isRecalled || session.wasGuessed) return this.#forget(session.url)
      session.wasGuessed = true
    } else {
      const isOff = status.bytes > descriptor.size || (status.bytes === 0 && this.#acknowledged > 0)
      if (isOff || (session.isRecalled && status.bytes === 0)) return this.#forget(status.url)
      session.url = status.url
      this.#acknowledged = status.bytes
      this.#furthest = Math.max(this.#furthest, status.bytes)
      if (session.isRecalled) this.#tellGoingOn()
    }
    session.isUnsure = false
    session.isRecalled = false
    onProgress(this.#acknowledged)
    await this.#remember(session)
  }

  #tellGoingOn(): void {
    const { repository, descriptor } = this.#task
    const megabytes = (bytes: number): string => Math.floor(bytes / 1e6).toLocaleString('en-US')
    repository.connection.onNotice({
      type: 'note',
      message: `Resuming an upload to ${repository.registry} that an earlier run began: ${megabytes(this.#acknowledged)} of ${megabytes(descriptor.size)} MB of blob ${shortHex(descriptor.digest)} are there`,
    })
  }

  /** @param url the session to cancel, where the registry may still have it. */
  #forget(url?: URL): void {
    if (url) this.#task.abandoned.push(url)
    this.#session = undefined
    this.#acknowledged = 0
  }

  #remember({ url }: OpenSession): Promise<void> | undefined {
    return this.#task.memory?.note({ mode: 'chunks', location: url, acknowledged: this.#acknowledged })
  }

  /** Bytes of the chunk that begins at `start`. */
  #length(start: number): number {
    const { habits, descriptor } = this.#task
    const wanted = Math.max(Math.min(habits.chunkSize, this.#ownSize), this.#session?.minLength ?? 0)
    return Math.min(wanted, descriptor.size - start)
  }

  async #sendNext(session: OpenSession): Promise<AirgapError | undefined> {
    const start = this.#acknowledged
    const end = start + this.#length(start)
    session.isUnsure = true
    const answer = await sendPart(this.#task, {
      method: 'PATCH',
      target: session.url,
      start,
      end,
      headers: { 'content-range': `${start}-${end - 1}` },
    }).catch((error: unknown) => {
      if (transienceOf(error) !== undefined) this.#broke(start)
      throw error
    })
    if (answer.status >= 200 && answer.status < 300) return this.#accepted(session, answer, start, end)
    return this.#refused(await failure(answer, answer.auth, this.#task.context), answer.status, start, end)
  }

  async #accepted(session: OpenSession, answer: Answer, start: number, end: number): Promise<undefined> {
    discard(answer)
    session.url = movedTo(this.#task, answer, session.url)
    const told = bytesIn(headerOf(answer, 'range'))
    // Some leave the Range out, or repeat an old one (ECR). A success counts anyway: the digest is checked at the end.
    const isPart = told !== undefined && told > start && told < end
    this.#acknowledged = isPart ? told : end
    this.#furthest = Math.max(this.#furthest, this.#acknowledged)
    session.isUnsure = false
    this.#brokenAt = undefined
    this.#misplacedAt = undefined
    this.#largestAccepted = Math.max(this.#largestAccepted, end - start)
    await this.#remember(session)
    const { habits, repository } = this.#task
    const news = habits.news(repository.registry)
    if (news) repository.connection.onNotice(news)
    if (isPart) this.#takeLess(told - start)
  }

  /** The registry took only a part of a chunk: chunks become as small as that part. */
  #takeLess(taken: number): void {
    const { habits, context } = this.#task
    if (taken < habits.floor) {
      throw tookTooLittle(context, taken).with({ transience: {} })
    }
    this.#ownSize = taken
  }

  /** @returns the error if it means that chunks are not accepted at all; undefined if another chunk is to be tried. */
  #refused(error: AirgapError, status: number, start: number, end: number): AirgapError | undefined {
    if (error.refusal?.kind === 'room' && status !== 413) throw error
    if (isTooLarge(error)) {
      this.#shrink(error, end - start)
      return undefined
    }
    if (status === 416) {
      // Ask the registry once how far it is. If that is exactly where the chunk began, it does not accept chunks.
      if (this.#misplacedAt === start) return error
      this.#misplacedAt = start
      throw error.with({ transience: {} })
    }
    if (UNSUPPORTED.has(status)) return this.#turnedAway(error, start === 0)
    if (status >= 500 && status !== 503) this.#broke(start)
    throw error
  }

  #turnedAway(error: AirgapError, isFirst: boolean): AirgapError {
    const isNew = isFirst && this.#session?.wasGuessed === false
    // The session may be lost, for example because the registry was restarted.
    const isLost = isAboutUpload(error)
    this.#forget()
    if (isLost && !isNew) throw error.with({ transience: {} })
    this.#timesTurnedAway += 1
    if (this.#timesTurnedAway > 1 || (isNew && !isLost)) return error
    throw error.with({ transience: {} })
  }

  #shrink(error: AirgapError, length: number): void {
    const { habits, context } = this.#task
    const least = this.#session?.minLength ?? 0
    if (length <= this.#largestAccepted) throw blobTooLarge(context, this.#acknowledged, error)
    if (!habits.refuse(length)) throw chunkTooLarge(context, length, error)
    if (least > habits.chunkSize) throw contradiction(context, least, length, error)
  }

  #broke(start: number): void {
    const { habits } = this.#task
    if (this.#brokenAt === start) this.#ownSize = Math.max(habits.floor, Math.ceil(this.#length(start) / 2))
    this.#brokenAt = start
  }

  async #commit(session: OpenSession): Promise<void> {
    const { descriptor, context } = this.#task
    session.isUnsure = true
    const answer = await sendPart(this.#task, {
      method: 'PUT',
      target: commitUrl(session.url, descriptor.digest),
      start: descriptor.size,
      end: descriptor.size,
      answerTimeoutMs: commitTimeout(this.#task),
    })
    if (answer.status >= 200 && answer.status < 300) return confirmStored(this.#task, answer)
    const error = await failure(answer, answer.auth, context)
    if (SESSION_GONE.has(answer.status) && error.refusal === undefined) {
      this.#forget()
      throw error.with({ transience: isWrongDigest(error) ? { attempts: WRONG_DIGESTS } : {} })
    }
    throw error
  }
}

/** Whether the registry has answered, and not only that it is busy. */
function isFinal(error: unknown): boolean {
  const status = answerOf(error)?.status
  return status !== undefined && status !== 429 && status !== 503
}
