import { AirgapError, type ErrorCode } from '../../../errors.ts'
import type { Hint } from '../../../hints.ts'
import { during, type Context } from '../../notices.ts'
import { formatSpan, formatTime } from '../../../bytes.ts'

/** A host that was given up is asked again after this time, later up to the other. */
const FIRST_PAUSE_MS = 10_000
const LONGEST_PAUSE_MS = 60_000

/** Why a host is not to be asked just now. */
export interface Trouble {
  code: ErrorCode
  /** The status that it answered with; undefined where it did not answer. */
  status?: number | undefined
  /** Begins with the host: `registry.example is busy (429 Too Many Requests)`. */
  reason: string
  hint?: Hint | readonly Hint[] | undefined
  /** A lower bound on attempts than the policy's. */
  attempts?: number | undefined
}

/** The time in which a host is not asked, but for one request now and then that finds out whether it is back. */
export class Outage {
  readonly trouble: Trouble
  /** When the host's own limit ends, where it said so. */
  readonly #ends: number | undefined
  #nextTry: number
  #pause = FIRST_PAUSE_MS
  #trial: number | undefined
  /** The last request that went before. */
  #after: number

  /** @param after the number of the last request that went before. */
  constructor(trouble: Trouble, after: number, now: number, ends: number | undefined) {
    this.trouble = trouble
    this.#ends = ends
    this.#nextTry = Math.max(ends ?? 0, now + FIRST_PAUSE_MS)
    this.#after = after
  }

  /** Takes a request for the one that finds out, if it is time for one. */
  tries(request: number, now: number): boolean {
    if (this.#trial !== undefined || now < this.#nextTry) return false
    this.#trial = request
    return true
  }

  /** Whether this request went after the host was given up, so that its answer means something. */
  isAnsweredBy(request: number): boolean {
    return request > this.#after
  }

  /** The request that was to find out has found that nothing has changed. */
  failed(request: number, last: number, now: number, until = 0): void {
    if (this.#trial !== request) return
    this.#trial = undefined
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE_MS)
    this.#nextTry = Math.max(now + this.#pause, until)
    this.#after = last
  }

  /** It has found out nothing. */
  abandoned(request: number): void {
    if (this.#trial === request) this.#trial = undefined
  }

  /** When the host's limit ends, as a sentence, where that is why it was given up. */
  limitText(now: number, patienceMs: number | undefined): string | undefined {
    if (this.#ends === undefined) return undefined
    const most = patienceMs === undefined ? '' : `; no more than ${formatSpan(patienceMs)} are waited for`
    return `The limit ends at ${formatTime(this.#ends, now)}, in ${formatSpan(Math.max(0, this.#ends - now))}${most}.`
  }

  /** For a request that is not sent. */
  refusal(context: Context, now: number, patienceMs: number | undefined): AirgapError {
    const { code, reason, hint } = this.trouble
    return new AirgapError(code, reason, {
      ...during(context),
      hint: [this.limitText(now, patienceMs) ?? [], hint ?? []].flat(),
    })
  }
}
