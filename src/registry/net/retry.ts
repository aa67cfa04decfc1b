import { AirgapError, messageOf, transienceOf, type Transience } from '../../errors.ts'
import { during, type Context, type OnNotice } from '../notices.ts'
import { sleep, SYSTEM_CLOCK, type Clock } from './throttle/clock.ts'
import type { RetryPolicy } from './throttle/host.ts'
import type { Hosts, Mark } from './throttle/hosts.ts'

/** Whether a peer that is there kept us waiting, see {@link Transience}. */
export function isStall(error: unknown): boolean {
  return transienceOf(error)?.isStall === true
}

export interface RetryOptions {
  policy: RetryPolicy
  context: Context
  onNotice: OnNotice
  signal?: AbortSignal | undefined
  /** Called after a failure. True starts the count of attempts again, for transfers that got somewhere. */
  progressed?: (() => boolean) | undefined
  /** Whether an error that may pass by itself ends the attempts all the same. */
  isFinal?: ((error: AirgapError) => boolean) | undefined
  /** Knows which failures concern all requests to a host; the next attempt waits there for its turn. */
  hosts?: Hosts | undefined
  clock?: Clock | undefined
}

/**
 * Runs `run` until it succeeds, fails with an error that will not pass by itself, or has been tried `policy.attempts`
 * times. Between attempts it waits a random time up to an exponentially growing bound ("full jitter", so that many
 * clients do not come back at once). All requests to a host wait together, in `hosts`, for what concerns the whole host
 * (429, 503, nothing listening); `hosts` also decides when that has lasted too long.
 */
export async function withRetry<T>(options: RetryOptions, run: (attempt: number) => Promise<T>): Promise<T> {
  const { policy, context, signal, hosts } = options
  const { registry, operation } = context
  const clock = options.clock ?? hosts?.clock ?? SYSTEM_CLOCK
  let row: FailuresInRow | undefined
  for (let attempt = 1; ; attempt++) {
    throwIfAborted(signal, context)
    try {
      return await run(attempt)
    } catch (error) {
      throwIfAborted(signal, context)
      const ruling = hosts?.ruling(error)
      if (ruling?.kind === 'give-up') throw ruling.error
      const transience = transienceOf(error)
      if (transience === undefined || !(error instanceof AirgapError)) throw error
      if (options.isFinal?.(error)) throw error
      const isNew = row === undefined || options.progressed?.() === true
      if (isNew || row === undefined) row = { count: 0, since: clock.now(), first: hosts?.mark(error) }
      row.count++
      if (ruling?.kind === 'again') {
        if (!isUnlucky(error, row, options, clock)) continue
        throw hosts?.exhausted(error, undefined) ?? error
      }
      if (row.count >= Math.min(policy.attempts, transience.attempts ?? policy.attempts)) {
        throw hosts?.exhausted(error, row.first) ?? error
      }
      const delayMs = delayAfter(row.count, transience, policy, () => clock.random())
      options.onNotice({ type: 'retry', registry, operation, attempt, reason: messageOf(error), delayMs })
      await pause(clock, delayMs, signal, context)
    }
  }
}

interface FailuresInRow {
  count: number
  since: number
  first: Mark | undefined
}

/**
 * Whether one request has been turned away for too long while the host serves others: a limit may never end for one
 * client, and one path alone may answer 503.
 */
function isUnlucky(
  { code }: AirgapError,
  { count, since, first }: FailuresInRow,
  { policy }: RetryOptions,
  clock: Clock,
): boolean {
  if (clock.now() - since > policy.patienceMs) return true
  if (code === 'RATE_LIMITED' || count < policy.attempts) return false
  return first !== undefined && first.host.signsOfLife > first.signsOfLife
}

/** Milliseconds to wait after the `failures`th failure in a row. */
export function delayAfter(
  failures: number,
  transience: Transience,
  policy: RetryPolicy,
  random: () => number = Math.random,
): number {
  if (transience.retryAfterMs !== undefined) {
    const asked = Math.min(Math.max(transience.retryAfterMs, 0), policy.patienceMs)
    return Math.round(asked + random() * policy.baseDelayMs)
  }
  const bound = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** (failures - 1))
  return Math.round(random() * bound)
}

/** @throws AirgapError `INTERRUPTED`, or the signal's own reason where that is an AirgapError. */
export function throwIfAborted(signal: AbortSignal | undefined, context: Context): void {
  if (signal?.aborted !== true) return
  if (signal.reason instanceof AirgapError) throw signal.reason
  throw new AirgapError('INTERRUPTED', `it was interrupted`, {
    ...during(context),
    cause: signal.reason,
  })
}

async function pause(
  clock: Clock,
  ms: number,
  signal: AbortSignal | undefined,
  context: Context,
): Promise<void> {
  try {
    await sleep(clock, ms, signal)
  } catch (error) {
    throwIfAborted(signal, context)
    throw error
  }
}
