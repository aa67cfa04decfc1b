import { setTimeout as sleep } from 'node:timers/promises'
import { AirgapError, messageOf } from '../errors.ts'
import type { Context, OnNotice } from './notices.ts'

export interface RetryPolicy {
  /** How often a request is made at most, the first time included. */
  attempts: number
  baseDelayMs: number
  maxDelayMs: number
  /** The longest that a registry's Retry-After is obeyed. */
  maxRetryAfterMs: number
}

export const DEFAULT_RETRY: RetryPolicy = {
  attempts: 5,
  baseDelayMs: 500,
  maxDelayMs: 30_000,
  maxRetryAfterMs: 120_000,
}

/** Why an error may pass by itself. */
export interface Transience {
  /** What the registry asked for in Retry-After. */
  retryAfterMs?: number | undefined
  /** A lower bound on attempts than the policy's. */
  attempts?: number | undefined
}

const transient = new WeakMap<Error, Transience>()

/** Notes that `error` may pass by itself, for {@link withRetry}. Returns the error. */
export function markTransient<E extends Error>(error: E, transience: Transience = {}): E {
  transient.set(error, transience)
  return error
}

/** What {@link markTransient} noted, if anything. */
export function transienceOf(error: unknown): Transience | undefined {
  return error instanceof Error ? transient.get(error) : undefined
}

export interface RetryOptions {
  policy: RetryPolicy
  context: Context
  onNotice: OnNotice
  signal?: AbortSignal | undefined
  /** Asked after a failure: true starts the count of attempts anew, for transfers that got somewhere. */
  progressed?: (() => boolean) | undefined
}

/**
 * Runs `run` until it succeeds, fails with something that will not pass by itself, or has been tried
 * `policy.attempts` times. Between attempts it waits: as long as Retry-After asks, up to the policy's cap, or
 * else a random time up to an exponentially growing bound ("full jitter", so that many clients do not come back
 * at once).
 */
export async function withRetry<T>(options: RetryOptions, run: (attempt: number) => Promise<T>): Promise<T> {
  const { policy, context, signal } = options
  let failures = 0
  for (let attempt = 1; ; attempt++) {
    throwIfAborted(signal, context)
    try {
      return await run(attempt)
    } catch (error) {
      throwIfAborted(signal, context)
      const transience = transienceOf(error)
      if (transience === undefined) throw error
      failures = options.progressed?.() === true ? 1 : failures + 1
      if (failures >= Math.min(policy.attempts, transience.attempts ?? policy.attempts)) throw error
      const delayMs = delayAfter(failures, transience, policy)
      options.onNotice({ type: 'retry', ...context, attempt, reason: messageOf(error), delayMs })
      await pause(delayMs, signal, context)
    }
  }
}

/** Milliseconds to wait after the `failures`th failure in a row. */
export function delayAfter(
  failures: number,
  transience: Transience,
  policy: RetryPolicy,
  random: () => number = Math.random,
): number {
  if (transience.retryAfterMs !== undefined) {
    const asked = Math.min(Math.max(transience.retryAfterMs, 0), policy.maxRetryAfterMs)
    return Math.round(asked + random() * policy.baseDelayMs)
  }
  const bound = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** (failures - 1))
  return Math.round(random() * bound)
}

/**
 * Reads a Retry-After header (RFC 9110 § 10.2.3): a number of seconds or an HTTP date.
 * @returns milliseconds from `now`, never negative; undefined when there is none or it makes no sense.
 */
export function parseRetryAfter(value: string | undefined, now: number = Date.now()): number | undefined {
  const text = value?.trim() ?? ''
  if (/^[0-9]{1,10}$/.test(text)) return Number(text) * 1000
  if (!/^[A-Za-z]{3,9},? .*[0-9]{2}:[0-9]{2}:[0-9]{2}/.test(text)) return undefined
  const date = Date.parse(text)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}

/** @throws AirgapError `INTERRUPTED`, or the signal's own reason where that is one of ours. */
export function throwIfAborted(signal: AbortSignal | undefined, context: Context): void {
  if (signal?.aborted !== true) return
  if (signal.reason instanceof AirgapError) throw signal.reason
  throw new AirgapError('INTERRUPTED', `cannot ${context.operation}: it was interrupted`, {
    cause: signal.reason,
  })
}

async function pause(ms: number, signal: AbortSignal | undefined, context: Context): Promise<void> {
  try {
    await sleep(ms, undefined, signal === undefined ? {} : { signal })
  } catch (error) {
    throwIfAborted(signal, context)
    throw error
  }
}
