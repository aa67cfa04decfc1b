import type { AirgapError } from '../../../errors.ts'
import type { Context, OnNotice } from '../../notices.ts'
import type { Clock } from './clock.ts'
import { Outage, type Trouble } from './outage.ts'
import { WaitingLine } from './waiting-line.ts'

/** So many broken transfers, without as many times ten that went well in between, mean that there are too many. */
const STRIKES = 2
const FORGIVEN = 0.1

/**
 * How many transfers at a time a host gets: fewer when it pushes back, and more again while it does not (additive
 * increase, multiplicative decrease; after a push-back from one on, as TCP's slow start).
 */
class TransferWindow {
  readonly most: number
  #size: number
  /** Up to here growth is fast. */
  #threshold: number
  #strikes = 0

  constructor(most: number) {
    this.most = Math.max(1, most)
    this.#size = this.most
    this.#threshold = this.most
  }

  /** Transfers at a time; undefined as long as there is no reason to count. */
  get size(): number | undefined {
    return this.#size >= this.most ? undefined : Math.floor(this.#size)
  }

  /** Where it will grow to soon. */
  get threshold(): number {
    return Math.floor(this.#threshold)
  }

  /** It said that it is too much: one at a time, then up to half of what there was. */
  pushBack(): void {
    this.#threshold = Math.max(1, Math.floor(this.#size / 2))
    this.#size = 1
    this.#strikes = 0
  }

  /**
   * A transfer broke.
   * @returns whether this was one too many: half of what there was from now on.
   */
  broke(): boolean {
    this.#strikes += 1
    if (this.#strikes < STRIKES || this.#size <= 1) return false
    this.#threshold = Math.max(1, Math.floor(this.#size / 2))
    this.#size = this.#threshold
    this.#strikes = 0
    return true
  }

  /** A transfer went through, to its end. */
  complete(): void {
    this.#strikes = Math.max(0, this.#strikes - FORGIVEN)
    const step = this.#size < this.#threshold ? 1 : 1 / this.#size
    this.#size = Math.min(this.most, this.#size + step)
  }
}

/** How often and how long is tried. */
export interface RetryPolicy {
  /** How often a request is made at most, the first time included. */
  attempts: number
  baseDelayMs: number
  maxDelayMs: number
  /** How long a registry that asks to be left alone (Retry-After) is waited for, over all of its answers in a row. */
  patienceMs: number
}

export const DEFAULT_RETRY: RetryPolicy = {
  attempts: 5,
  baseDelayMs: 500,
  maxDelayMs: 30_000,
  patienceMs: 300_000,
}

/** A host is given up when so many requests in a row have used up all their attempts, … */
const FAILED_IN_A_ROW = 10
/** … over so long a time, in milliseconds: a short break is no reason. */
const FAILED_FOR_MS = 30_000

/** After a hold one request goes first. Where nothing comes of it for so long, the next one goes too. Milliseconds. */
const STAGGER_MS = 2000
/** Shorter waits are told once. */
const WORTH_TELLING_MS = 1000

export interface HostSettings {
  policy: RetryPolicy
  clock: Clock
  /** Transfers at a time. */
  concurrency: number
  onNotice: OnNotice
}

/** A request's leave to go, in the order that these were given. */
export interface Pass {
  number: number
  counts: boolean
  label: string
}

interface Hold {
  /** Nobody goes before; then one goes first. */
  until: number
  since: number
  rounds: number
  /** The last pass that was given before. */
  after: number
  /** When the last one went to see how it is. */
  triedAt?: number
}

/**
 * What is known of one host, for all requests to it together: whether it asked to be left alone (a hold), whether it is
 * given up for a while (an outage), and how many transfers at a time it bears.
 */
export class Host {
  /** Grows with everything that shows that the host works. */
  signsOfLife = 0
  readonly #window: TransferWindow
  readonly #settings: HostSettings
  readonly #line: WaitingLine
  #label: string
  #passes = 0
  #active = 0
  #hold: Hold | undefined
  #outage: Outage | undefined
  /** Requests that used up their attempts, with no sign of life since the first of them. */
  #failed = { count: 0, since: 0, signsOfLife: -1 }
  /** The pass that the last change of the window was for. */
  #shrunkAt = 0
  #hasToldShortHold = false
  #hasToldWindow = false
  #hasToldOutage = false

  constructor(label: string, settings: HostSettings) {
    this.#label = label
    this.#settings = settings
    this.#line = new WaitingLine(settings.clock)
    this.#window = new TransferWindow(settings.concurrency)
  }

  /**
   * Waits for leave to send a request.
   * @param label the host as the user knows it.
   * @param counts whether it counts as a transfer. What another request waits for must not.
   * @throws AirgapError the reason why the host is given up; the signal's reason.
   */
  async enter(context: Context, label: string, counts: boolean, signal?: AbortSignal): Promise<Pass> {
    this.#label = label
    if (this.#outage) {
      if (!this.#outage.tries(this.#passes + 1, this.#now)) throw this.#refusal(this.#outage, context)
      return this.#give(counts)
    }
    if (this.#line.isEmpty && this.#mayGo(counts)) return this.#give(counts)
    const leave = this.#line.wait({ counts, context, signal }, () => this.#give(counts))
    this.#pump()
    return leave
  }

  /** The host has answered, and it is not too busy: this ends a hold and an outage, unless it went before these. */
  through({ number }: Pass): void {
    if (this.#hold && number > this.#hold.after) this.#hold = undefined
    if (this.#outage?.isAnsweredBy(number)) {
      this.#outage = undefined
      this.#hasToldOutage = false
    }
    this.#pump()
  }

  /** A transfer has ended well. */
  complete({ counts }: Pass): void {
    this.signsOfLife++
    if (counts) this.#window.complete()
    this.#pump()
  }

  /** A transfer broke, for whatever reason other than ours. */
  broke({ number }: Pass): void {
    this.#outage?.failed(number, this.#passes, this.#now)
    // One that is alone is not one of too many.
    if (this.#active <= 1 || number <= this.#shrunkAt || !this.#window.broke()) return
    this.#shrunkAt = this.#passes
    this.#tellWindow()
  }

  /** A request was given up by us: it has shown nothing. */
  abandoned({ number }: Pass): void {
    this.#outage?.abandoned(number)
  }

  /** A transfer is over, however it went. */
  leave({ counts }: Pass): void {
    if (!counts) return
    this.#active--
    this.#pump()
  }

  /**
   * The host is to be left alone for a while: nobody goes there, until one has gone through.
   * @param asked milliseconds that it asked for itself.
   */
  holdOff(pass: Pass, trouble: Trouble, asked: number | undefined): void {
    const now = this.#now
    if (this.#outage) return this.#outage.failed(pass.number, this.#passes, now, now + (asked ?? 0))
    if (this.#hold && pass.number <= this.#hold.after) return this.#lengthen(this.#hold, trouble, asked ?? 0)
    const { policy, clock, onNotice } = this.#settings
    const rounds = (this.#hold?.rounds ?? 0) + 1
    const since = this.#hold?.since ?? now
    const backoff = clock.random() * Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** (rounds - 1))
    // Who asks for a little patience again and again is asked less often than that.
    const wait =
      asked === undefined
        ? backoff
        : Math.max(asked + clock.random() * policy.baseDelayMs, rounds > 1 ? backoff : 0)
    const until = now + Math.round(wait)
    const attempts = this.#attempts(trouble)
    const isOver =
      asked === undefined ? rounds >= attempts : attempts <= 1 || until - since > policy.patienceMs
    if (isOver) return this.giveUp(trouble, asked === undefined ? undefined : now + asked)
    this.#hold = { until, since, rounds, after: this.#passes }
    const delayMs = until - now
    if (delayMs >= WORTH_TELLING_MS || !this.#hasToldShortHold) {
      if (delayMs < WORTH_TELLING_MS) this.#hasToldShortHold = true
      const { reason, status } = trouble
      onNotice({ type: 'held', registry: this.#label, status, reason, delayMs, until })
    }
    if (trouble.status !== undefined) this.#pushBack(pass)
    this.#pump()
  }

  /**
   * How often a trouble is met in a row before the host is given up. One that was there a moment ago gets the time that
   * a registry takes to start anew: about a minute by the default policy.
   */
  #attempts({ attempts }: Trouble): number {
    const { policy } = this.#settings
    if (attempts === undefined || policy.attempts <= 1) return policy.attempts
    return this.signsOfLife > 0 ? policy.attempts * 2 : Math.min(policy.attempts, attempts)
  }

  /** What went before the hold began may only lengthen it. */
  #lengthen(hold: Hold, trouble: Trouble, asked: number): void {
    const until = Math.max(hold.until, this.#now + asked)
    if (until - hold.since > this.#settings.policy.patienceMs) this.giveUp(trouble, until)
    else hold.until = until
  }

  /**
   * No request goes there until a trial some time later; who waits is told why.
   * @param ends when the host's own limit ends.
   */
  giveUp(trouble: Trouble, ends?: number): void {
    if (this.#outage) return
    this.#hold = undefined
    const outage = new Outage(trouble, this.#passes, this.#now, ends)
    this.#outage = outage
    this.#line.fail(({ context }) => this.#refusal(outage, context))
  }

  /**
   * A request has used up its attempts. The host is given up where nothing has come from it since `first`, or where this
   * has happened to many in a row.
   * @param first where the host stood when the request failed first; undefined for a fault that may be of one path alone.
   * @returns whether the host is given up.
   */
  exhausted(trouble: Trouble, first: number | undefined): boolean {
    const { signsOfLife } = this
    if (this.#failed.signsOfLife !== signsOfLife) this.#failed = { count: 0, since: this.#now, signsOfLife }
    this.#failed.count++
    const isLasting = this.#failed.count >= FAILED_IN_A_ROW && this.#now - this.#failed.since >= FAILED_FOR_MS
    if (first === signsOfLife || isLasting) this.giveUp(trouble)
    return this.isGivenUp
  }

  get isGivenUp(): boolean {
    return this.#outage !== undefined
  }

  /** See {@link Outage.limitText}. */
  get limitText(): string | undefined {
    return this.#outage?.limitText(this.#now, this.#patience)
  }

  /** Ends all waiting. */
  close(error: AirgapError): void {
    this.#line.fail(() => error)
  }

  get #now(): number {
    return this.#settings.clock.now()
  }

  /** Undefined where the user wants nothing to be waited for. */
  get #patience(): number | undefined {
    const { attempts, patienceMs } = this.#settings.policy
    return attempts > 1 ? patienceMs : undefined
  }

  #give(counts: boolean): Pass {
    if (counts) this.#active++
    if (this.#hold) this.#hold.triedAt = this.#now
    return { number: ++this.#passes, counts, label: this.#label }
  }

  #mayGo(counts: boolean): boolean {
    if (this.#hold && this.#now < opening(this.#hold)) return false
    const { size } = this.#window
    return !counts || size === undefined || this.#active < size
  }

  #pump(): void {
    this.#line.pump(
      ({ counts }) => this.#mayGo(counts),
      () => this.#hold && opening(this.#hold) - this.#now,
    )
  }

  #refusal(outage: Outage, context: Context): AirgapError {
    // The one that found out has an error of its own to tell.
    if (!this.#hasToldOutage) {
      const { reason } = outage.trouble
      this.#settings.onNotice({ type: 'unavailable', registry: this.#label, reason })
    }
    this.#hasToldOutage = true
    return outage.refusal(context, this.#now, this.#patience)
  }

  #pushBack({ number }: Pass): void {
    if (number <= this.#shrunkAt) return
    this.#shrunkAt = this.#passes
    this.#window.pushBack()
    if (this.#active > 1) this.#tellWindow()
  }

  #tellWindow(): void {
    if (this.#hasToldWindow || this.#window.most === 1) return
    this.#hasToldWindow = true
    const { threshold: transfers, most: before } = this.#window
    this.#settings.onNotice({ type: 'slower', registry: this.#label, transfers, before })
  }
}

/** When the next one may go. */
function opening({ until, triedAt }: Hold): number {
  return triedAt === undefined ? until : Math.max(until, triedAt + STAGGER_MS)
}
