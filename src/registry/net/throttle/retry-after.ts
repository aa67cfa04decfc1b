/** Longer waits are taken for a mistake, and could overflow a date. */
const MOST_MS = 366 * 24 * 3600 * 1000

/**
 * Reads a Retry-After header (RFC 9110 § 10.2.3): a number of seconds or an HTTP date. A date is compared
 * with the answer's own Date where there is one, so that a wrong clock on either side does not matter.
 *
 * @param date the answer's Date header.
 * @param now what a date is compared with where the answer has none.
 * @returns milliseconds to wait, never negative; undefined when the header is missing or makes no sense.
 */
export function parseRetryAfter(
  value: string | undefined,
  { date, now = Date.now() }: { date?: string | undefined; now?: number } = {},
): number | undefined {
  const text = value?.trim() ?? ''
  if (/^[0-9]{1,10}$/.test(text)) return Math.min(Number(text) * 1000, MOST_MS)
  const until = parseHttpDate(text)
  if (until === undefined) return undefined
  return Math.min(Math.max(0, until - (parseHttpDate(date) ?? now)), MOST_MS)
}

/** An HTTP date (RFC 9110 § 5.6.7) as milliseconds since 1970. */
export function parseHttpDate(value: string | undefined): number | undefined {
  const text = value?.trim() ?? ''
  if (text.length > 64 || !/^[A-Za-z]{3,9},? .*[0-9]{2}:[0-9]{2}:[0-9]{2}/.test(text)) return undefined
  const date = Date.parse(text)
  return Number.isNaN(date) ? undefined : date
}
