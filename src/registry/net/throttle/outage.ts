import { AirgapError, type ErrorCode } from '../../../errors.ts'
import type { Hint } from '../../../hints.ts'
import { during, type Context } from '../../notices.ts'
import { formatSpan, formatTime } from '../../../bytes.ts'

/** How long until a host that was given up is tried again: first, and at most. */
const FIRST_PAUSE_MS = 10_000
const LONGEST_PAUSE_MS = 60_000

/** Why a host is left alone. */
export interface Trouble {
  code: ErrorCode
  /** The status that it answered with; undefined where it did not answer. */
  status?: number | undefined
  /** Begins with the host: `registry.example is busy (429 Too Many Requests)`. */
  reason: string
  hint?: Hint | readonly Hint[] | undefined
  /** The most attempts, where that is fewer than the policy's. */
  attempts?: number | undefined
}

/** The time in which a host gets no requests, except for a trial now and then to find out whether it is back. */
export class Outage {
  readonly trouble: Trouble
  /** When the host's own limit ends, where it said so. */
  readonly #ends: number | undefined
  #nextTry: number
  #pause = FIRST_PAUSE_MS
  #trial: number | undefined
  /** The last request sent before. */
  #after: number

  /** @param after the number of the last request sent before. */
  constructor(trouble: Trouble, after: number, now: number, ends: number | undefined) {
    this.trouble = trouble
    this.#ends = ends
    this.#nextTry = Math.max(ends ?? 0, now + FIRST_PAUSE_MS)
    this.#after = after
  }

  /** Makes a request the trial, if it is time for one. */
  tries(request: number, now: number): boolean {
    if (this.#trial !== undefined || now < this.#nextTry) return false
    this.#trial = request
    return true
  }

  /** Whether this request was sent after the host was given up, so that its answer counts. */
  isAnsweredBy(request: number): boolean {
    return request > this.#after
  }

  /** The trial has failed. */
  failed(request: number, last: number, now: number, until = 0): void {
    if (this.#trial !== request) return
    this.#trial = undefined
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE_MS)
    this.#nextTry = Math.max(now + this.#pause, until)
    this.#after = last
  }

  /** The trial had no result. */
  abandoned(request: number): void {
    if (this.#trial === request) this.#trial = undefined
  }

  /** A sentence that says when the host's limit ends, if it was given up because of a limit. */
  limitText(now: number, patienceMs: number | undefined): string | undefined {
    if (this.#ends === undefined) return undefined
    const most = patienceMs === undefined ? '' : `; airgap waits for ${formatSpan(patienceMs)} at most`
    return `The limit ends at ${formatTime(this.#ends, now)}, in ${formatSpan(Math.max(0, this.#ends - now))}${most}.`
  }

  /** The error of a request that is not sent. */
  refusal(context: Context, now: number, patienceMs: number | undefined): AirgapError {
    const { code, reason, hint } = this.trouble
    return new AirgapError(code, reason, {
      ...during(context),
      hint: [this.limitText(now, patienceMs) ?? [], hint ?? []].flat(),
    })
  }
}
