import type { AirgapError } from '../../../errors.ts'
import type { Context, OnNotice } from '../../notices.ts'
import type { Clock } from './clock.ts'
import { Outage, type Trouble } from './outage.ts'
import { WaitingLine } from './waiting-line.ts'

/** After so many broken transfers, transfers are halved. Ten complete ones cancel one broken one. */
const STRIKES = 2
const FORGIVEN = 0.1

/**
 * How many simultaneous transfers a host gets: fewer when it pushes back, then gradually more again (additive increase,
 * multiplicative decrease; after a push-back it starts from one, like TCP's slow start).
 */
class TransferWindow {
  readonly most: number
  #size: number
  /** Growth is fast up to this size. */
  #threshold: number
  #strikes = 0

  constructor(most: number) {
    this.most = Math.max(1, most)
    this.#size = this.most
    this.#threshold = this.most
  }

  /** Simultaneous transfers; undefined while they need not be limited. */
  get size(): number | undefined {
    return this.#size >= this.most ? undefined : Math.floor(this.#size)
  }

  /** The size that it will soon grow back to. */
  get threshold(): number {
    return Math.floor(this.#threshold)
  }

  /** The host said that it is too much: one at a time, then up to half of the earlier size. */
  pushBack(): void {
    this.#threshold = Math.max(1, Math.floor(this.#size / 2))
    this.#size = 1
    this.#strikes = 0
  }

  /**
   * A transfer broke.
   * @returns whether the size was halved for it.
   */
  broke(): boolean {
    this.#strikes += 1
    if (this.#strikes < STRIKES || this.#size <= 1) return false
    this.#threshold = Math.max(1, Math.floor(this.#size / 2))
    this.#size = this.#threshold
    this.#strikes = 0
    return true
  }

  /** A transfer was completed. */
  complete(): void {
    this.#strikes = Math.max(0, this.#strikes - FORGIVEN)
    const step = this.#size < this.#threshold ? 1 : 1 / this.#size
    this.#size = Math.min(this.most, this.#size + step)
  }
}

/** How often and how long a request is retried. */
export interface RetryPolicy {
  /** The most attempts for a request, the first one included. */
  attempts: number
  baseDelayMs: number
  maxDelayMs: number
  /** How long to wait in total while a registry asks for it (Retry-After) in one answer after another. */
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

/** After a hold, one request goes first. If it has no result after this time, the next one goes too. Milliseconds. */
const STAGGER_MS = 2000
/** Shorter waits are reported once. */
const WORTH_TELLING_MS = 1000

export interface HostSettings {
  policy: RetryPolicy
  clock: Clock
  /** Simultaneous transfers. */
  concurrency: number
  onNotice: OnNotice
}

/** The permission for one request, numbered in order. */
export interface Pass {
  number: number
  counts: boolean
  label: string
}

interface Hold {
  /** No request goes before this time; then one goes first. */
  until: number
  since: number
  rounds: number
  /** The last pass given before the hold. */
  after: number
  /** When the last request was sent to try the host. */
  triedAt?: number
}

/**
 * The state of one host, for all requests to it together: whether it asked to be left alone (a hold), whether it is
 * given up for a while (an outage), and how many simultaneous transfers it can bear.
 */
export class Host {
  /** Counts everything that shows that the host works. */
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
  /** The last pass given before the window last shrank. */
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
   * Waits until a request may be sent.
   * @param label the host as the user knows it.
   * @param counts whether it counts as a transfer. A request that another one waits for must not.
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

  /**
   * The host has answered and is not too busy. This ends a hold and an outage that began before the request was sent.
   */
  through({ number }: Pass): void {
    if (this.#hold && number > this.#hold.after) this.#hold = undefined
    if (this.#outage?.isAnsweredBy(number)) {
      this.#outage = undefined
      this.#hasToldOutage = false
    }
    this.#pump()
  }

  /** A transfer was completed. */
  complete({ counts }: Pass): void {
    this.signsOfLife++
    if (counts) this.#window.complete()
    this.#pump()
  }

  /** A transfer broke, for any reason other than our own. */
  broke({ number }: Pass): void {
    this.#outage?.failed(number, this.#passes, this.#now)
    // A single transfer cannot be one too many.
    if (this.#active <= 1 || number <= this.#shrunkAt || !this.#window.broke()) return
    this.#shrunkAt = this.#passes
    this.#tellWindow()
  }

  /** We gave up a request, so it has shown nothing. */
  abandoned({ number }: Pass): void {
    this.#outage?.abandoned(number)
  }

  /** A transfer is over, with any result. */
  leave({ counts }: Pass): void {
    if (!counts) return
    this.#active--
    this.#pump()
  }

  /**
   * Leaves the host alone for a while: no request is sent until one has succeeded.
   * @param asked milliseconds that the host itself asked for.
   */
  holdOff(pass: Pass, trouble: Trouble, asked: number | undefined): void {
    const now = this.#now
    if (this.#outage) return this.#outage.failed(pass.number, this.#passes, now, now + (asked ?? 0))
    if (this.#hold && pass.number <= this.#hold.after) return this.#lengthen(this.#hold, trouble, asked ?? 0)
    const { policy, clock, onNotice } = this.#settings
    const rounds = (this.#hold?.rounds ?? 0) + 1
    const since = this.#hold?.since ?? now
    const backoff = clock.random() * Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** (rounds - 1))
    // A host that keeps asking for short waits gets longer ones.
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
   * How many failures in a row make us give the host up. A host that worked earlier in the run gets the time that a
   * registry takes to restart: about a minute by the default policy.
   */
  #attempts({ attempts }: Trouble): number {
    const { policy } = this.#settings
    if (attempts === undefined || policy.attempts <= 1) return policy.attempts
    return this.signsOfLife > 0 ? policy.attempts * 2 : Math.min(policy.attempts, attempts)
  }

  /** A request that was sent before the hold began can only lengthen it. */
  #lengthen(hold: Hold, trouble: Trouble, asked: number): void {
    const until = Math.max(hold.until, this.#now + asked)
    if (until - hold.since > this.#settings.policy.patienceMs) this.giveUp(trouble, until)
    else hold.until = until
  }

  /**
   * Sends no request until a trial some time later. Waiting requests fail with the reason.
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

  /** Undefined where the user does not want to wait at all. */
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
    // The request that found the outage reports its own error.
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

/** When the next request may go. */
function opening({ until, triedAt }: Hold): number {
  return triedAt === undefined ? until : Math.max(until, triedAt + STAGGER_MS)
}
