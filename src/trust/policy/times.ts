import { formatMoment } from '../../bytes.ts'
import { AirgapError } from '../../errors.ts'

const MOMENT = /^(\d{4}-\d{2}-\d{2})T\d{2}:\d{2}:\d{2}Z$/
const DATE = /^\d{4}-\d{2}-\d{2}$/

/**
 * Parses a date or a moment (RFC 3339, UTC, whole seconds).
 * @param edge which second of a date is meant: the first or the last one, in UTC.
 * @returns milliseconds since 1970.
 * @throws AirgapError `INVALID_POLICY`
 */
export function parseMoment(text: string, edge: 'start' | 'end'): number {
  const moment = DATE.test(text) ? `${text}T${edge === 'start' ? '00:00:00' : '23:59:59'}Z` : text
  const time = MOMENT.test(moment) ? Date.parse(moment) : Number.NaN
  // `Date.parse` reads some moments that do not exist, such as 2026-02-30, as other ones.
  if (!Number.isNaN(time) && formatMoment(time) === moment) return time
  throw new AirgapError(
    'INVALID_POLICY',
    `must be a date or a moment in UTC, like 2026-06-30 or 2026-06-30T12:00:00Z, but is ${JSON.stringify(text.slice(0, 40))}`,
  )
}

const HOURS: Record<string, number> = { h: 1, d: 24, w: 7 * 24 }
const MOST_HOURS = 100 * 366 * 24

/**
 * Parses an age: `30d`, `12h`, `6w`.
 * @returns milliseconds
 * @throws AirgapError `INVALID_POLICY`
 */
export function parseAge(text: string): number {
  const match = /^([1-9][0-9]{0,6}) ?([hdw])$/.exec(text)
  const hours = match ? Number(match[1]) * (HOURS[match[2] ?? ''] ?? Number.NaN) : Number.NaN
  if (hours <= MOST_HOURS) return hours * 3_600_000
  throw new AirgapError(
    'INVALID_POLICY',
    `must be hours, days or weeks, like 12h, 30d or 6w, but is ${JSON.stringify(text.slice(0, 40))}`,
  )
}

/** An age for people: `3 d 4 h`, `50 min`. */
export function formatAge(milliseconds: number): string {
  const minutes = Math.max(0, Math.floor(milliseconds / 60_000))
  const [days, hours] = [Math.floor(minutes / 1440), Math.floor((minutes % 1440) / 60)]
  if (days > 0) return hours > 0 ? `${days} d ${hours} h` : `${days} d`
  return hours > 0 ? `${hours} h ${minutes % 60} min` : `${minutes} min`
}
