import { formatDuration } from '../../bytes.ts'
import type { OnNotice } from '../notices.ts'
import { jwtPayload } from '../auth/scopes.ts'

/** Clocks may differ by this much before anybody needs to know. Milliseconds. */
export const TOLERANCE_MS = 5 * 60_000
const MAX_HOSTS = 1000

export interface Skew {
  /** How far the other clock is ahead of ours; negative behind. */
  ms: number
  isLarge: boolean
}

/**
 * How far another clock is from ours, by its `Date` header.
 * @param age the `Age` header: seconds since a cache got the answer.
 * @returns undefined when there is no such header, or it is unreadable.
 */
export function skewOf(date: string | undefined, now: number, age?: string): Skew | undefined {
  if (date === undefined || !/^[A-Za-z]{3}, .{10,40}GMT$/.test(date)) return undefined
  const time = Date.parse(date)
  if (Number.isNaN(time)) return undefined
  const seconds = /^[0-9]{1,9}$/.test(age ?? '') ? Number(age) : 0
  const ms = time + seconds * 1000 - now
  return { ms, isLarge: Math.abs(ms) > TOLERANCE_MS }
}

/** Both times, and how far they are apart. */
export function clockText(whose: string, theirs: number, ours: number): string {
  return `The clock of ${whose} says ${utcText(theirs)}, and that of this machine ${utcText(ours)}: ${formatDuration(Math.abs(theirs - ours))} apart`
}

/** Told of a token that says that it was issued in the future of those who are to accept it. */
export function tokenText(issuedAt: number | undefined, registryNow: number): string | undefined {
  if (issuedAt === undefined || issuedAt - registryNow <= TOLERANCE_MS) return undefined
  return `The token says that it was issued at ${utcText(issuedAt)}, and the registry's clock says ${utcText(registryNow)}: it is not valid yet there. Have the clocks of the registry and of its token service set.`
}

/**
 * When a token says that it was issued: the latest of the answer's `issued_at` and, where the token is a JWT, its
 * `iat` and `nbf` (RFC 7519 § 4.1). Nothing is believed of it, and nothing but a message depends on it.
 */
export function issuedAtOf(token: string, issuedAt: unknown): number | undefined {
  const times = [...claimsOf(token), typeof issuedAt === 'string' ? Date.parse(issuedAt) : NaN]
  const latest = Math.max(...times.filter((time) => time > 0 && time < MAX_TIME))
  return Number.isFinite(latest) ? latest : undefined
}

/** The last moment that a Date can hold. */
const MAX_TIME = 8.64e15

function claimsOf(token: string): number[] {
  const { iat, nbf } = jwtPayload(token) ?? {}
  return [iat, nbf].filter((value) => typeof value === 'number').map((seconds) => seconds * 1000)
}

/** Tells, once a host, of clocks that are far from ours. */
export class ClockWatch {
  readonly #onNotice: OnNotice
  readonly #told = new Set<string>()

  constructor(onNotice: OnNotice) {
    this.#onNotice = onNotice
  }

  /**
   * @param headers `date` and `age` of an answer that came from `host` itself.
   * @param issuedAt when the token that it was asked with says that it was issued.
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
        ? clockText(host, now + skew.ms, now)
        : clockText(`the token service of ${host}`, issuedAt ?? now, now)
    this.#onNotice({
      type: 'warning',
      message: `${text}. Certificates and tokens may be refused for it; \`timedatectl\` shows whether this machine's is set by a time server`,
      ...(skew?.isLarge === true ? { clock: { host, behindMs: -skew.ms } } : {}),
    })
  }
}

/** `2026-11-21 14:30 UTC`, to be compared with another time of the same form. */
export function utcText(time: number): string {
  return `${new Date(time).toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

/**
 * A moment ahead as somebody at this machine reads it off a clock: `14:30:05 GMT+1 (in 3 min 20 s)`, with the date
 * where it is not today.
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
