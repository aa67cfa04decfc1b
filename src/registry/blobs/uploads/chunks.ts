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
import { sendPart } from './send.ts'

/** A session, and what is known of it. */
interface OpenSession extends UploadSession {
  /** Taken over from an earlier run: only the registry knows how far it is. */
  isRecalled: boolean
  /** Something may have arrived that nobody has told us of. */
  isUnsure: boolean
  /** It was gone on with once, though the registry would not say how far it was. */
  wasGuessed: boolean
}

/** So many bytes more make a broken upload count as the first failure again, not as one more. */
const REAL_PROGRESS = 16 * 1024 * 1024
const WRONG_DIGESTS = 3

/**
 * A blob's upload in chunks (distribution-spec § Pushing a blob in chunks), which goes on after a fault from where the
 * registry says it is. One {@link run} an attempt.
 */
export class ChunkedUpload {
  readonly #task: UploadTask
  #session: OpenSession | undefined
  /** Bytes that the registry has, as far as is known. */
  #acknowledged = 0
  /** The most that it ever had. */
  #furthest = 0
  #mark = 0
  /** For this blob alone: a chunk that breaks off again and again may be too much for somebody's patience. */
  #ownSize = Number.POSITIVE_INFINITY
  #brokenAt: number | undefined
  #misplacedAt: number | undefined
  #largestAccepted = 0
  #timesTurnedAway = 0

  constructor(task: UploadTask) {
    this.#task = task
  }

  /** Goes on with a session of an earlier run, if the registry still knows it. */
  takeOver(url: URL): void {
    this.#session = { url, minLength: 0, isRecalled: true, isUnsure: true, wasGuessed: false }
  }

  /** Whether the upload got somewhere since this was last asked. */
  progressed(): boolean {
    const gained = this.#furthest - this.#mark
    const isReal = gained > 0 && gained >= Math.min(REAL_PROGRESS, this.#length(0))
    if (isReal) this.#mark = this.#furthest
    return isReal
  }

  /**
   * Sends what is missing, and commits.
   * @returns undefined when the blob is stored, the refusal where the registry does not take chunks.
   * @throws AirgapError; after one that is transient, another run goes on.
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

  /** A session whose state is known: the present one after asking, where that is needed, or a new one. */
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
      // Whatever a registry has against a session from another day, it need not have against a new one.
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
      message: `Going on with an upload to ${repository.registry} that an earlier run has begun: ${megabytes(this.#acknowledged)} of ${megabytes(descriptor.size)} MB of blob ${shortHex(descriptor.digest)} are there`,
    })
  }

  /** @param url to be given up, where the registry may still keep it. */
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
    // Some leave the Range out, or repeat an old one (ECR); a success is a success, and the digest has the last word.
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

  /** The registry takes less than it is given: chunks become as small as what it took. */
  #takeLess(taken: number): void {
    const { habits, context } = this.#task
    if (taken < habits.floor) {
      throw tookTooLittle(context, taken).with({ transience: {} })
    }
    this.#ownSize = taken
  }

  /** @returns the error where it means that chunks are not taken at all; undefined where another chunk is to be tried. */
  #refused(error: AirgapError, status: number, start: number, end: number): AirgapError | undefined {
    if (error.refusal?.kind === 'room' && status !== 413) throw error
    if (isTooLarge(error)) {
      this.#shrink(error, end - start)
      return undefined
    }
    if (status === 416) {
      // Once the registry is asked how far it is. If that is just where the chunk began, it does not want chunks.
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
    // It may be the session that is lost, for instance because the registry was started anew.
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

/** Whether the registry has answered, and not just that it has no time. */
function isFinal(error: unknown): boolean {
  const status = answerOf(error)?.status
  return status !== undefined && status !== 429 && status !== 503
}
