import { STATUS_CODES, type IncomingHttpHeaders } from 'node:http'
import { AirgapError, transienceOf, type Origin } from '../../../errors.ts'
import { authorityOf } from '../hosts.ts'
import type { Context, OnNotice } from '../../notices.ts'
import { SYSTEM_CLOCK, type Clock } from './clock.ts'
import { DEFAULT_RETRY, Host, type Pass, type RetryPolicy } from './host.ts'
import type { Trouble } from './outage.ts'
import { Quotas } from './quota.ts'
import { RateLimit } from './rate-limit.ts'
import { parseRetryAfter } from './retry-after.ts'
import { notTooSlow, type SlowBody } from './slowness.ts'

/** The answers of a host that is too busy, and those of a proxy whose registry does not answer. */
const BUSY: ReadonlySet<number> = new Set([429, 503])
const GATEWAY: ReadonlySet<number> = new Set([502, 504])

/** What is to be done about an error. */
type Ruling = { kind: 'again' } | { kind: 'give-up'; error: AirgapError } | undefined

/** Where a host stood at some time. */
export interface Mark {
  host: Host
  signsOfLife: number
}

/** Simultaneous transfers by default. */
const DEFAULT_TRANSFERS = 6
/** After so many bytes of one body, a host counts as working. */
const SIGN_OF_LIFE = 1024 * 1024
/** The most that an upload hands over at once, buffers included. Bytes. */
const LARGEST_CHUNK = 512 * 1024

export interface HostsOptions {
  policy?: RetryPolicy
  clock?: Clock | undefined
  /** Simultaneous transfers with one host. */
  concurrency?: number | undefined
  /** Bytes a second, over all transfers, both ways. */
  maxRate?: number | undefined
  onNotice?: OnNotice
}

/** The parts of an answer that are used. */
interface Answered {
  statusCode: number
  headers: IncomingHttpHeaders
  body: SlowBody & {
    on(event: 'end' | 'close', listener: () => void): unknown
    on(event: 'error', listener: (error: unknown) => void): unknown
  }
}

interface Destination {
  /** As in URLs. */
  host: string
  context: Context
  /** Whether it counts as a transfer. */
  counts: boolean
  hasBody: boolean
  /** The minimum of the body, and the time for it, see {@link Patience}. */
  withinMs: number
  leastRate?: number | undefined
  signal?: AbortSignal | undefined
}

/**
 * The hosts that a client sends to, each with the state that all requests to it share: see {@link Host}. A host is
 * whoever answers: the registry, its token service, or a host that it redirects to.
 */
export class Hosts {
  readonly policy: RetryPolicy
  readonly clock: Clock
  readonly rate: RateLimit | undefined
  readonly #concurrency: number
  readonly #onNotice: OnNotice
  readonly #quotas: Quotas
  readonly #hosts = new Map<string, Host>()
  readonly #slow = new Set<string>()

  constructor(options: HostsOptions = {}) {
    this.policy = options.policy ?? DEFAULT_RETRY
    this.clock = options.clock ?? SYSTEM_CLOCK
    this.#concurrency = options.concurrency ?? DEFAULT_TRANSFERS
    this.#onNotice = options.onNotice ?? (() => {})
    this.#quotas = new Quotas(this.#onNotice)
    if (options.maxRate !== undefined) this.rate = new RateLimit(options.maxRate, this.clock)
  }

  /**
   * Sends a request once its host is ready for it, and watches the answer to the end of its body.
   *
   * @returns the answer; its bytes, at the limited rate; and a function that adds to an error where the answer came
   *   from.
   * @throws AirgapError what `request` throws, or the reason why the host is given up; the signal's reason.
   */
  async send<R extends Answered>(
    to: Destination,
    request: () => Promise<R>,
  ): Promise<{
    response: R
    chunks: AsyncIterable<Uint8Array>
    withOrigin: (error: AirgapError) => AirgapError
  }> {
    const { context } = to
    const label = labelOf(to.host, context)
    const host = this.#host(to.host, label)
    const pass = await this.#enter(to.host, label, host, to)
    let response: R
    try {
      response = await request()
    } catch (error) {
      const told = this.#failed(to.host, host, pass, error, context)
      host.leave(pass)
      throw told
    }
    const { statusCode: status, headers, body } = response
    this.#answered(host, pass, status, headers, context)
    this.#quotas.see(headers, label)
    this.#watchBody(host, pass, response, to)
    const { registry } = context
    return {
      response,
      chunks: this.#chunks(body, host, to),
      withOrigin: (error) =>
        error.with({ origin: { host: to.host, registry, status, isOfHost: BUSY.has(status) } }),
    }
  }

  /** Whether an error concerns all requests to its host, and what follows from it for the one that got it. */
  ruling(error: unknown): Ruling {
    const found = this.#originOf(error)
    if (!found || !(error instanceof AirgapError)) return undefined
    const { host, origin } = found
    if (host.isGivenUp) return { kind: 'give-up', error: this.#explained(error, host, origin) }
    return origin.isOfHost ? { kind: 'again' } : undefined
  }

  /** Where the host of an error stands now. */
  mark(error: unknown): Mark | undefined {
    const host = this.#originOf(error)?.host
    return host && { host, signsOfLife: host.signsOfLife }
  }

  /**
   * All attempts are used up. {@link Host.exhausted} decides whether that gives up the host.
   * @param first where the host stood when the request failed first.
   * @returns the error to throw.
   */
  exhausted(error: AirgapError, first: Mark | undefined): AirgapError {
    const found = this.#originOf(error)
    if (!found) return error
    const { host, origin } = found
    if (error.code === 'RATE_LIMITED') return this.#explained(error, host, origin)
    const isGone = error.code === 'NETWORK' || GATEWAY.has(origin.status ?? 0)
    const since = isGone && first?.host === host ? first.signsOfLife : undefined
    const isGivenUp = host.exhausted(troubleOf(error), since)
    // The requests that the host refuses from now on get the same origin, so that all of them are one report.
    const told = isGivenUp ? error.with({ origin: { ...origin, isOfHost: true } }) : error
    return this.#explained(told, host, origin)
  }

  #originOf(error: unknown): { host: Host; origin: Origin } | undefined {
    const origin = error instanceof AirgapError ? error.origin : undefined
    const host = origin && this.#hosts.get(origin.host)
    return host && { host, origin }
  }

  /** The error with what the host's limit means. */
  #explained(error: AirgapError, host: Host, { status, registry }: Origin): AirgapError {
    if (status === undefined || !BUSY.has(status)) return error
    const advice = status === 429 ? this.#quotas.advice(registry) : undefined
    const hints = [host.limitText ?? [], advice ?? error.hints].flat()
    return error.with({ hint: hints, cause: error })
  }

  /** Waits for leave to ask a host. @throws AirgapError with the host as its origin, where it is given up. */
  async #enter(
    name: string,
    label: string,
    host: Host,
    { context, counts, signal }: Pick<Destination, 'context' | 'counts' | 'signal'>,
  ): Promise<Pass> {
    try {
      return await host.enter(context, label, counts, signal)
    } catch (error) {
      if (!(error instanceof AirgapError) || error.code === 'INTERRUPTED') throw error
      const { registry } = context
      throw error.with({ origin: { host: name, registry, status: undefined, isOfHost: true } })
    }
  }

  /** Whether a registry was slow while others have the same content: it is asked after them for the rest of the run. */
  isSlow(registry: string): boolean {
    return this.#slow.has(authorityOf(registry))
  }

  /** See {@link isSlow}. */
  wasSlow(registry: string): void {
    this.#slow.add(authorityOf(registry))
  }

  /** A stall timeout that is long enough for transfers slowed down by our own limit. Milliseconds. */
  stallTimeout(ms: number): number {
    if (this.rate === undefined) return ms
    return Math.max(ms, ((this.#concurrency * LARGEST_CHUNK) / this.rate.bytesPerSecond) * 1000)
  }

  /**
   * Does some other work that shows whether a host can be reached, once the host is ready for it.
   * @throws AirgapError what `work` throws, or the reason why the host is given up; the signal's reason.
   */
  async reach<T>(
    name: string,
    context: Context,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
  ): Promise<T> {
    const label = labelOf(name, context)
    const host = this.#host(name, label)
    const pass = await this.#enter(name, label, host, { context, counts: false, signal })
    try {
      const result = await work()
      host.through(pass)
      return result
    } catch (error) {
      throw this.#failed(name, host, pass, error, context)
    }
  }

  /** Ends all waiting with `error`. */
  close(error: AirgapError): void {
    this.rate?.close()
    for (const host of this.#hosts.values()) host.close(error)
  }

  #host(name: string, label: string): Host {
    let host = this.#hosts.get(name)
    if (!host) {
      const { policy, clock } = this
      host = new Host(label, { policy, clock, concurrency: this.#concurrency, onNotice: this.#onNotice })
      this.#hosts.set(name, host)
    }
    return host
  }

  #answered(host: Host, pass: Pass, status: number, headers: IncomingHttpHeaders, context: Context): void {
    if (GATEWAY.has(status)) return host.broke(pass)
    if (!BUSY.has(status)) return host.through(pass)
    const isLimit = status === 429
    const trouble = {
      code: isLimit ? 'RATE_LIMITED' : 'REGISTRY',
      status,
      reason: `${pass.label} is busy (${status} ${STATUS_CODES[status]})`,
      hint: isLimit ? this.#quotas.advice(context.registry) : undefined,
    } as const
    const wait = parseRetryAfter(headers['retry-after'], { date: headers.date, now: this.clock.now() })
    host.holdOff(pass, trouble, wait)
  }

  /** @returns the error to throw, which names the host. */
  #failed(name: string, host: Host, pass: Pass, error: unknown, context: Context): unknown {
    const transience = transienceOf(error)
    if (error instanceof AirgapError && error.code === 'INTERRUPTED') {
      host.abandoned(pass)
      return error
    }
    // An error that will not pass, such as a bad certificate, is an answer too, and no reason to hold other requests.
    if (!(error instanceof AirgapError) || transience === undefined) {
      host.through(pass)
      return error
    }
    // Errors with their own bound on attempts mean that the host cannot be reached at all.
    const isOfHost = error.code === 'NETWORK' && transience.attempts !== undefined
    if (isOfHost) host.holdOff(pass, { ...troubleOf(error), attempts: transience.attempts }, undefined)
    else host.broke(pass)
    return error.with({ origin: { host: name, registry: context.registry, status: undefined, isOfHost } })
  }

  #watchBody(host: Host, pass: Pass, { statusCode: status, body }: Answered, to: Destination): void {
    let isOver = false
    const leave = (isComplete: boolean): void => {
      if (isOver) return
      isOver = true
      // A server's own fault is no sign that it works.
      if (isComplete && status < 500 && !BUSY.has(status)) host.complete(pass)
      host.leave(pass)
    }
    body.on('error', (error) => {
      const isOurs = error instanceof Error && (error.name === 'AbortError' || error.name === 'AirgapError')
      if (!isOver && !isOurs) {
        host.broke(pass)
      }
      leave(false)
    })
    body.on('end', () => leave(true))
    body.on('close', () => leave(false))
    if (!to.hasBody) leave(true)
  }

  async *#chunks(
    body: SlowBody,
    host: Host,
    { withinMs, leastRate }: Destination,
  ): AsyncGenerator<Uint8Array> {
    const coming = notTooSlow(body, { clock: this.clock, withinMs, leastRate })
    let bytes = 0
    for await (const chunk of this.rate?.pace(coming) ?? coming) {
      bytes += chunk.length
      if (bytes >= SIGN_OF_LIFE) {
        bytes = 0
        host.signsOfLife++
      }
      yield chunk
    }
  }
}

/** The name by which the user knows a host. */
function labelOf(host: string, { registry }: Context): string {
  return authorityOf(registry) === host ? registry : host
}

/** What an error says of its host. */
function troubleOf({ code, reason, hints }: AirgapError): Trouble {
  return { code, reason, hint: hints }
}
