import { formatDuration } from '../../bytes.ts'
import type { OnNotice } from '../notices.ts'
import { jwtPayload } from '../auth/scopes.ts'

/** Smaller differences between clocks are not reported. Milliseconds. */
export const TOLERANCE_MS = 5 * 60_000
const MAX_HOSTS = 1000

export interface Skew {
  /** How far the other clock is ahead of ours, negative if behind. Milliseconds. */
  ms: number
  isLarge: boolean
}

/**
 * How far another clock is from ours, by its `Date` header.
 * @param age the `Age` header: seconds since a cache got the answer.
 * @returns undefined when the header is missing or unreadable.
 */
export function skewOf(date: string | undefined, now: number, age?: string): Skew | undefined {
  if (date === undefined || !/^[A-Za-z]{3}, .{10,40}GMT$/.test(date)) return undefined
  const time = Date.parse(date)
  if (Number.isNaN(time)) return undefined
  const seconds = /^[0-9]{1,9}$/.test(age ?? '') ? Number(age) : 0
  const ms = time + seconds * 1000 - now
  return { ms, isLarge: Math.abs(ms) > TOLERANCE_MS }
}

/** A sentence with both times, and how far apart they are. */
export function registryClockText(whose: string, theirs: number, ours: number): string {
  return `The clock of ${whose} says ${utcText(theirs)}, and that of this machine ${utcText(ours)}: ${formatDuration(Math.abs(theirs - ours))} apart`
}

/** The hint for a token that was issued in the future, by the registry's clock. */
export function tokenText(issuedAt: number | undefined, registryNow: number): string | undefined {
  if (issuedAt === undefined || issuedAt - registryNow <= TOLERANCE_MS) return undefined
  return `The token says that it was issued at ${utcText(issuedAt)}, and the registry's clock says ${utcText(registryNow)}: it is not valid there yet. Have the clocks of the registry and of its token service set.`
}

/**
 * When a token says that it was issued: the latest of the answer's `issued_at` and, for a JWT, its `iat` and `nbf` (RFC
 * 7519 § 4.1). These are not verified, and only used in messages.
 */
export function issuedAtOf(token: string, issuedAt: unknown): number | undefined {
  const times = [...claimsOf(token), typeof issuedAt === 'string' ? Date.parse(issuedAt) : NaN]
  const latest = Math.max(...times.filter((time) => time > 0 && time < MAX_TIME))
  return Number.isFinite(latest) ? latest : undefined
}

/** The latest time that a Date can hold. */
const MAX_TIME = 8.64e15

function claimsOf(token: string): number[] {
  const { iat, nbf } = jwtPayload(token) ?? {}
  return [iat, nbf].filter((value) => typeof value === 'number').map((seconds) => seconds * 1000)
}

/** Warns, once for each host, about clocks that are far from ours. */
export class ClockWatch {
  readonly #onNotice: OnNotice
  readonly #told = new Set<string>()

  constructor(onNotice: OnNotice) {
    this.#onNotice = onNotice
  }

  /**
   * @param headers `date` and `age` of an answer that came from `host` itself.
   * @param issuedAt when the token of the request says that it was issued.
   */
  see(
    host: string,
    headers: { date?: string | undefined; age?: string | undefined },
    issuedAt?: number,
    now: number = Date.now(),
  ): void {
    if (this.#told.has(host) || this.#told.size >= MAX_HOSTS) return
    const skew = skewOf(headers.date, now, headers.age)
    const isFuture = issuedAt !== undefined && issuedAt - now > TOLERANCE_MS
    if (skew?.isLarge !== true && !isFuture) return
    this.#told.add(host)
    const text =
      skew?.isLarge === true
        ? registryClockText(host, now + skew.ms, now)
        : registryClockText(`the token service of ${host}`, issuedAt ?? now, now)
    this.#onNotice({
      type: 'warning',
      message: `${text}. Certificates and tokens may be refused because of it; \`timedatectl\` shows whether this machine's clock is set by a time server`,
      ...(skew?.isLarge === true ? { clock: { host, behindMs: -skew.ms } } : {}),
    })
  }
}

/** `2026-11-21 14:30 UTC`, for comparison with another time in the same form. */
export function utcText(time: number): string {
  return `${new Date(time).toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

/**
 * A future time as this machine's clock will show it: `14:30:05 GMT+1 (in 3 min 20 s)`, with the date if it is not
 * today.
 */
export function aheadText(time: number, now: number = Date.now()): string {
  const at = new Date(time)
  const isToday = at.toDateString() === new Date(now).toDateString()
  const text = new Intl.DateTimeFormat('en-GB', {
    ...(isToday ? {} : { day: 'numeric', month: 'short' }),
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
    timeZoneName: 'short',
  }).format(at)
  return `${text} (in ${formatDuration(Math.max(0, time - now))})`
}
