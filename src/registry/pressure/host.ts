import { AirgapError, type ErrorCode } from '../../errors.ts'
import type { Context, OnNotice } from '../notices.ts'
import type { RetryPolicy } from '../retry.ts'
import type { Clock } from './clock.ts'
import { formatSpan, formatTime } from './words.ts'
import { TransferWindow } from './window.ts'

/** After a hold one request goes first. Where nothing comes of it for so long, the next one goes too. Milliseconds. */
const STAGGER_MS = 2000
/** A host that was given up is asked again after this time, later up to the other. */
const FIRST_PAUSE_MS = 10_000
const LONGEST_PAUSE_MS = 60_000

export interface HostSettings {
  policy: RetryPolicy
  clock: Clock
  /** Transfers at a time. */
  concurrency: number
  onNotice: OnNotice
}

/** Why a host is not to be asked just now. */
export interface Trouble {
  code: ErrorCode
  /** The status that it answered with; undefined where it did not answer. */
  status?: number | undefined
  /** Completes a sentence that begins with the host: `is busy (429 Too Many Requests)`. */
  reason: string
  hint?: string | undefined
  /** A lower bound on attempts than the policy's. */
  attempts?: number | undefined
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

interface Outage {
  trouble: Trouble
  since: number
  nextTry: number
  pause: number
  /** When the host's own limit ends, where it said so. */
  ends: number | undefined
  /** The request that is finding out whether it is over. */
  trial?: number | undefined
  after: number
  isTold: boolean
}

interface Waiter {
  counts: boolean
  context: Context
  go(): void
  fail(error: AirgapError): void
}

/**
 * What is known of one host, for all requests to it together: whether it asked to be left alone (a hold), whether it is
 * given up for a while (an outage), and how many transfers at a time it bears.
 */
export class Host {
  /** As URLs have it. */
  readonly name: string
  readonly window: TransferWindow
  readonly #settings: HostSettings
  readonly #queue: Waiter[] = []
  #passes = 0
  #active = 0
  #hold: Hold | undefined
  #outage: Outage | undefined
  #cancelTimer: (() => void) | undefined
  #label: string
  #hasToldShortHold = false
  #hasToldWindow = false
  /** Grows with everything that shows that the host works. */
  signsOfLife = 0
  /** The pass that the last change of the window was for. */
  #shrunkAt = 0

  constructor(name: string, label: string, settings: HostSettings) {
    this.name = name
    this.#label = label
    this.#settings = settings
    this.window = new TransferWindow(settings.concurrency)
  }

  /**
   * Waits for leave to send a request.
   * @param counts whether it counts as a transfer. What another request waits for must not.
   * @throws AirgapError the reason why the host is given up; the signal's reason.
   */
  enter(context: Context, label: string, counts: boolean, signal?: AbortSignal): Promise<Pass> {
    this.#label = label
    const outage = this.#outage
    if (outage) {
      const { clock } = this.#settings
      if (outage.trial !== undefined || clock.now() < outage.nextTry) {
        return Promise.reject(this.#refusal(outage, context))
      }
      outage.trial = this.#passes + 1
      return Promise.resolve(this.#give(counts))
    }
    if (this.#queue.length === 0 && this.#mayGo(counts)) return Promise.resolve(this.#give(counts))
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.#remove(waiter)
        signal?.removeEventListener('abort', stop)
      }
      const stop = (): void => {
        end()
        reject(signal?.reason as Error)
      }
      const waiter: Waiter = {
        counts,
        context,
        go: () => {
          end()
          resolve(this.#give(counts))
        },
        fail: (error) => {
          end()
          reject(error)
        },
      }
      signal?.throwIfAborted()
      signal?.addEventListener('abort', stop, { once: true })
      this.#queue.push(waiter)
      this.#pump()
    })
  }

  /** The host has answered, and it is not too busy: this ends a hold and an outage, unless it went before these. */
  through(pass: Pass): void {
    if (this.#hold && pass.number > this.#hold.after) this.#hold = undefined
    if (this.#outage && pass.number > this.#outage.after) this.#outage = undefined
    this.#pump()
  }

  /** A transfer has ended well. */
  complete({ counts }: Pass): void {
    this.signsOfLife++
    if (counts) this.window.complete()
    this.#pump()
  }

  /** A transfer broke, for whatever reason other than ours. */
  broke(pass: Pass): void {
    if (this.#outage?.trial === pass.number) this.#extendOutage(this.#outage)
    // One that is alone is not one of too many.
    if (this.#active <= 1 || pass.number <= this.#shrunkAt || !this.window.broke()) return
    this.#shrunkAt = this.#passes
    this.#tellWindow()
  }

  /** A request was given up by us: it has shown nothing. */
  abandoned(pass: Pass): void {
    if (this.#outage?.trial === pass.number) this.#outage.trial = undefined
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
    const { policy, clock } = this.#settings
    const now = clock.now()
    if (this.#outage) {
      if (this.#outage.trial === pass.number) this.#extendOutage(this.#outage, now + (asked ?? 0))
      return
    }
    const before = this.#hold
    if (before && pass.number <= before.after) {
      // It went before the hold began; what it was told may only lengthen that.
      const until = Math.max(before.until, now + (asked ?? 0))
      if (until - before.since > policy.patienceMs) this.giveUp(trouble, until)
      else before.until = until
      return
    }
    const rounds = (before?.rounds ?? 0) + 1
    const since = before?.since ?? now
    const bound = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** (rounds - 1))
    const backoff = clock.random() * bound
    // Who is asked for patience again and again is asked less often than the answer says.
    const wait =
      asked === undefined
        ? backoff
        : Math.max(asked + clock.random() * policy.baseDelayMs, rounds > 1 ? backoff : 0)
    const until = now + Math.round(wait)
    const attempts = Math.min(policy.attempts, trouble.attempts ?? policy.attempts)
    const isOver =
      asked === undefined ? rounds >= attempts : attempts <= 1 || until - since > policy.patienceMs
    if (isOver) {
      this.giveUp(trouble, asked === undefined ? undefined : now + asked)
      return
    }
    this.#hold = { until, since, rounds, after: this.#passes }
    if (trouble.status !== undefined) this.#pushBack(pass)
    this.#tellHold(trouble, until - now, until)
    this.#pump()
  }

  /** No request goes there until a trial some time later; who waits is told why. */
  giveUp(trouble: Trouble, ends?: number): void {
    if (this.#outage) return
    const now = this.#settings.clock.now()
    this.#hold = undefined
    const outage: Outage = {
      trouble,
      since: now,
      nextTry: Math.max(ends ?? 0, now + FIRST_PAUSE_MS),
      pause: FIRST_PAUSE_MS,
      ends,
      after: this.#passes,
      isTold: false,
    }
    this.#outage = outage
    for (const waiter of this.#queue.slice()) waiter.fail(this.#refusal(outage, waiter.context))
  }

  get isGivenUp(): boolean {
    return this.#outage !== undefined
  }

  /** When the host's limit ends, as a sentence, where that is why it was given up. */
  get limitText(): string | undefined {
    const ends = this.#outage?.ends
    if (ends === undefined) return undefined
    const { clock, policy } = this.#settings
    const now = clock.now()
    const most = policy.attempts > 1 ? `; no more than ${formatSpan(policy.patienceMs)} are waited for` : ''
    return `The limit ends at ${formatTime(ends, now)}, in ${formatSpan(Math.max(0, ends - now))}${most}.`
  }

  /** Ends all waiting. */
  close(error: AirgapError): void {
    for (const waiter of this.#queue.slice()) waiter.fail(error)
  }

  #give(counts: boolean): Pass {
    if (counts) this.#active++
    if (this.#hold) this.#hold.triedAt = this.#settings.clock.now()
    return { number: ++this.#passes, counts, label: this.#label }
  }

  #mayGo(counts: boolean): boolean {
    if (this.#hold && this.#settings.clock.now() < this.#opensAt(this.#hold)) return false
    const { size } = this.window
    return !counts || size === undefined || this.#active < size
  }

  #opensAt({ until, triedAt }: Hold): number {
    return triedAt === undefined ? until : Math.max(until, triedAt + STAGGER_MS)
  }

  /** Lets go whoever may go. What others wait for does not stand in line behind transfers. */
  #pump(): void {
    for (const waiter of this.#queue.slice()) {
      if (this.#mayGo(waiter.counts)) waiter.go()
    }
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    if (this.#queue.length === 0 || !this.#hold) return
    const { clock } = this.#settings
    const wait = this.#opensAt(this.#hold) - clock.now()
    // Zero: they wait for a transfer to end.
    if (wait > 0) this.#cancelTimer = clock.after(Math.ceil(wait), () => this.#pump())
  }

  #remove(waiter: Waiter): void {
    const at = this.#queue.indexOf(waiter)
    if (at >= 0) this.#queue.splice(at, 1)
    if (this.#queue.length > 0) return
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  #pushBack(pass: Pass): void {
    if (pass.number <= this.#shrunkAt) return
    this.#shrunkAt = this.#passes
    this.window.pushBack()
    if (this.#active > 1) this.#tellWindow()
  }

  #extendOutage(outage: Outage, until = 0): void {
    outage.trial = undefined
    outage.pause = Math.min(outage.pause * 2, LONGEST_PAUSE_MS)
    outage.nextTry = Math.max(this.#settings.clock.now() + outage.pause, until)
    outage.after = this.#passes
  }

  #refusal(outage: Outage, { operation }: Context): AirgapError {
    const { trouble, since } = outage
    const { clock, onNotice } = this.#settings
    // The one that found out has an error of its own to tell.
    if (!outage.isTold) onNotice({ type: 'unavailable', registry: this.#label, reason: trouble.reason })
    outage.isTold = true
    const hint = [this.limitText, trouble.hint].filter(Boolean).join(' ')
    return new AirgapError(
      trouble.code,
      `cannot ${operation}: ${trouble.reason}; it was given up at ${formatTime(since, clock.now())}`,
      { hint: hint || undefined },
    )
  }

  /** Short waits are not worth a line each. */
  #tellHold({ reason, status }: Trouble, delayMs: number, until: number): void {
    if (delayMs < 1000 && this.#hasToldShortHold) return
    if (delayMs < 1000) this.#hasToldShortHold = true
    this.#settings.onNotice({ type: 'held', registry: this.#label, status, reason, delayMs, until })
  }

  #tellWindow(): void {
    if (this.#hasToldWindow || this.window.most === 1) return
    this.#hasToldWindow = true
    this.#settings.onNotice({
      type: 'slower',
      registry: this.#label,
      transfers: Math.max(1, this.window.threshold),
      before: this.window.most,
    })
  }
}
