import { STATUS_CODES, type IncomingHttpHeaders } from 'node:http'
import { AirgapError } from '../../errors.ts'
import { authorityOf, isDockerHub } from '../hosts.ts'
import type { Context, OnNotice } from '../notices.ts'
import { DEFAULT_RETRY, transienceOf, type RetryPolicy } from '../retry.ts'
import { SYSTEM_CLOCK, type Clock } from './clock.ts'
import { Host, type Pass, type Trouble } from './host.ts'
import { limitAdvice, parseQuota, QuotaWatch, type Quota } from './quota.ts'
import { RateLimit } from './rate-limit.ts'
import { parseRetryAfter } from './retry-after.ts'
import { formatSpan } from './words.ts'

/** So many bytes of one body show that a host works. */
const SIGN_OF_LIFE = 1024 * 1024
/** What an upload hands over at once, buffers included. Bytes. */
const LARGEST_CHUNK = 512 * 1024
const BUSY = new Set([429, 503])
const GATEWAY = new Set([502, 504])

export interface HostsOptions {
  policy?: RetryPolicy
  clock?: Clock | undefined
  /** Transfers at a time with one host. */
  concurrency?: number | undefined
  /** Bytes a second, over everything, both ways. */
  maxRate?: number | undefined
  onNotice?: OnNotice
}

/** What of an answer is looked at. */
interface Answered {
  statusCode: number
  headers: IncomingHttpHeaders
  body: AsyncIterable<Uint8Array> & {
    on(event: 'end' | 'close', listener: () => void): unknown
    on(event: 'error', listener: (error: unknown) => void): unknown
  }
}

/** Which host an error came from. */
interface Blame {
  host: Host
  status: number | undefined
  /** That host is held now, or given up: nobody else need find that out. */
  isOfHost: boolean
  registry: string
}

/** What is to be done about an error. */
export type Ruling = { kind: 'again' } | { kind: 'give-up'; error: AirgapError } | undefined

/** A sign that {@link Hosts.exhausted} compares with. */
export interface Mark {
  host: Host
  signsOfLife: number
}

/**
 * The hosts that a client sends to, each with what holds for all requests to it together: see {@link Host}. A host is
 * who answers: the registry, its token service, or where it redirects to.
 */
export class Hosts {
  readonly policy: RetryPolicy
  readonly clock: Clock
  readonly rate: RateLimit | undefined
  readonly #concurrency: number
  readonly #onNotice: OnNotice
  readonly #hosts = new Map<string, Host>()
  readonly #blames = new WeakMap<object, Blame>()
  readonly #quotas = new Map<string, { watch: QuotaWatch; last: Quota | undefined }>()

  constructor(options: HostsOptions = {}) {
    this.policy = options.policy ?? DEFAULT_RETRY
    this.clock = options.clock ?? SYSTEM_CLOCK
    this.#concurrency = options.concurrency ?? DEFAULT_TRANSFERS
    this.#onNotice = options.onNotice ?? (() => {})
    if (options.maxRate !== undefined) this.rate = new RateLimit(options.maxRate, this.clock)
  }

  /**
   * Sends a request when its host is to be asked, and watches what becomes of it, its body's end included.
   *
   * @param to the host as URLs have it, for whom, and whether it counts as a transfer.
   * @returns the answer; its bytes as fast as they may come; and what says of an error made of it where it came from.
   * @throws AirgapError what `request` throws, the reason why the host is given up, the signal's reason.
   */
  async send<R extends Answered>(
    to: {
      host: string
      context: Context
      counts: boolean
      hasBody: boolean
      signal?: AbortSignal | undefined
    },
    request: () => Promise<R>,
  ): Promise<{ response: R; chunks: AsyncIterable<Uint8Array>; blame: <E extends Error>(error: E) => E }> {
    const { context, counts } = to
    const label = labelOf(to.host, context)
    const host = this.#host(to.host, label)
    const pass = await host.enter(context, label, counts, to.signal)
    let response: R
    try {
      response = await request()
    } catch (error) {
      this.#failed(host, pass, error, context)
      host.leave(pass)
      throw error
    }
    const { statusCode: status, headers } = response
    this.#answered(host, pass, status, headers, context)
    this.#watchQuota(headers, label)
    this.#watchBody(host, pass, response, to)
    const blame = <E extends Error>(error: E): E => {
      this.#blames.set(error, { host, status, isOfHost: BUSY.has(status), registry: context.registry })
      return error
    }
    return { response, chunks: this.#chunks(response.body, host), blame }
  }

  /** A stall timeout that what is slowed down here on purpose does not run into. Milliseconds. */
  stallTimeout(ms: number): number {
    if (this.rate === undefined) return ms
    return Math.max(ms, ((this.#concurrency * LARGEST_CHUNK) / this.rate.bytesPerSecond) * 1000)
  }

  /** A host that could not be reached, found out by other means than {@link send}. */
  unreachable(host: string, error: AirgapError, context: Context): void {
    const label = labelOf(host, context)
    const found = this.#host(host, label)
    this.#failed(found, { number: Infinity, counts: false, label }, error, context)
  }

  /** Whether an error concerns all requests to its host, and what follows from it for the one that got it. */
  ruling(error: unknown): Ruling {
    const blame = this.#blameFor(error)
    if (!blame || !(error instanceof AirgapError)) return undefined
    if (blame.host.isGivenUp) return { kind: 'give-up', error: this.#explained(error, blame) }
    return blame.isOfHost ? { kind: 'again' } : undefined
  }

  /** Where the host of an error stands now. */
  mark(error: unknown): Mark | undefined {
    const host = this.#blameFor(error)?.host
    return host && { host, signsOfLife: host.signsOfLife }
  }

  /**
   * All attempts are used up. A host that has not done anything well since the first of them is given up for all.
   * @returns the error to throw.
   */
  exhausted(error: AirgapError, first: Mark | undefined, context: Context): AirgapError {
    const blame = this.#blameFor(error)
    if (!blame || first?.host !== blame.host) return error
    const { host, status } = blame
    const isHosts = error.code === 'NETWORK' || (status !== undefined && GATEWAY.has(status))
    if (isHosts && host.signsOfLife === first.signsOfLife) host.giveUp(troubleOf(error, context, undefined))
    return this.#explained(error, blame)
  }

  /** Passes on an error's origin to another that tells of the same. */
  inherit<E extends Error>(error: E, from: unknown): E {
    const blame = this.#blameFor(from)
    if (blame) this.#blames.set(error, blame)
    return error
  }

  /** Ends all waiting with `error`. */
  close(error: AirgapError): void {
    this.rate?.close()
    for (const host of this.#hosts.values()) host.close(error)
  }

  #host(name: string, label: string): Host {
    let host = this.#hosts.get(name)
    if (!host) {
      host = new Host(name, label, {
        policy: this.policy,
        clock: this.clock,
        concurrency: this.#concurrency,
        onNotice: this.#onNotice,
      })
      this.#hosts.set(name, host)
    }
    return host
  }

  #answered(host: Host, pass: Pass, status: number, headers: IncomingHttpHeaders, context: Context): void {
    if (BUSY.has(status)) {
      const reason = `${pass.label} is busy (${status} ${STATUS_CODES[status]})`
      const trouble: Trouble = {
        code: status === 429 ? 'RATE_LIMITED' : 'REGISTRY',
        status,
        reason,
        hint: status === 429 ? this.#advice(context.registry) : undefined,
      }
      const now = this.clock.now()
      host.holdOff(pass, trouble, parseRetryAfter(headers['retry-after'], { date: headers.date, now }))
    } else if (GATEWAY.has(status)) {
      host.broke(pass)
    } else {
      host.through(pass)
    }
  }

  #failed(host: Host, pass: Pass, error: unknown, context: Context): void {
    const transience = transienceOf(error)
    if (error instanceof AirgapError && error.code === 'INTERRUPTED') {
      host.abandoned(pass)
      return
    }
    if (!(error instanceof AirgapError) || transience === undefined) {
      // Nothing that passes, such as a bad certificate: an answer of sorts, and no reason to hold anybody.
      host.through(pass)
      return
    }
    // What has a bound of its own is a host that is not there at all.
    const isOfHost = error.code === 'NETWORK' && transience.attempts !== undefined
    this.#blames.set(error, { host, status: undefined, isOfHost, registry: context.registry })
    if (isOfHost) host.holdOff(pass, troubleOf(error, context, transience.attempts), undefined)
    else host.broke(pass)
  }

  #watchBody(
    host: Host,
    pass: Pass,
    { statusCode: status, body }: Answered,
    { hasBody, context: { registry } }: { hasBody: boolean; context: Context },
  ): void {
    let isOver = false
    const leave = (isComplete: boolean): void => {
      if (isOver) return
      isOver = true
      if (isComplete && !BUSY.has(status) && !GATEWAY.has(status)) host.complete(pass)
      host.leave(pass)
    }
    body.on('error', (error) => {
      const isOurs = error instanceof Error && (error.name === 'AbortError' || error.name === 'AirgapError')
      if (!isOver && !isOurs) {
        if (error instanceof Error) this.#blames.set(error, { host, status, isOfHost: false, registry })
        host.broke(pass)
      }
      leave(false)
    })
    body.on('end', () => leave(true))
    body.on('close', () => leave(false))
    if (!hasBody) leave(true)
  }

  async *#chunks(body: AsyncIterable<Uint8Array>, host: Host): AsyncGenerator<Uint8Array> {
    let bytes = 0
    for await (const chunk of this.rate?.pace(body) ?? body) {
      bytes += chunk.length
      if (bytes >= SIGN_OF_LIFE) {
        bytes = 0
        host.signsOfLife++
      }
      yield chunk
    }
  }

  #blameFor(error: unknown): Blame | undefined {
    for (let at = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth++) {
      const blame = this.#blames.get(at)
      if (blame) return blame
    }
    return undefined
  }

  /** The error with what the host's limit means, where that is why it was given up. */
  #explained(error: AirgapError, { host, status, registry }: Blame): AirgapError {
    if (status === undefined || !BUSY.has(status)) return error
    const { code, message, hint, problems } = error
    const hints = [host.limitText, status === 429 ? this.#advice(registry) : hint]
    const options = { hint: hints.filter(Boolean).join(' ') || undefined, problems, cause: error }
    return this.inherit(new AirgapError(code, message, options), error)
  }

  #watchQuota(headers: IncomingHttpHeaders, label: string): void {
    const quota = parseQuota(headers)
    if (!quota) return
    const known = this.#quotas.get(label) ?? { watch: new QuotaWatch(), last: undefined }
    this.#quotas.set(label, known)
    known.last = quota
    if (!known.watch.isNews(quota)) return
    const { limit, remaining, window, source } = quota
    this.#onNotice({ type: 'quota', registry: label, remaining, limit, windowSeconds: window, source })
  }

  /** What somebody can do whom a registry has limited. */
  #advice(registry: string): string {
    const quota = this.#quotas.get(registry)?.last
    const limit =
      quota?.limit === undefined || quota.window === undefined
        ? isDockerHub(registry) && 'Docker Hub counts pulls over six hours.'
        : `The limit is ${quota.limit} pulls in ${formatSpan(quota.window * 1000)}, and frees up bit by bit.`
    return [limit, limitAdvice(registry, quota?.source)].filter(Boolean).join(' ')
  }
}

/** Transfers at a time unless the caller says otherwise. */
const DEFAULT_TRANSFERS = 6

/** A host under the name that the user knows. */
function labelOf(host: string, { registry }: Context): string {
  return authorityOf(registry) === host ? registry : host
}

function troubleOf(error: AirgapError, { operation }: Context, attempts: number | undefined): Trouble {
  const prefix = `cannot ${operation}: `
  const { code, message, hint } = error
  return { code, reason: message.startsWith(prefix) ? message.slice(prefix.length) : message, hint, attempts }
}
