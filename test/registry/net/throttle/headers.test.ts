import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseQuota } from '../../../../src/registry/net/throttle/quota.ts'
import { parseRetryAfter } from '../../../../src/registry/net/throttle/retry-after.ts'
import { formatSpan, formatTime } from '../../../../src/bytes.ts'

const now = Date.parse('Wed, 21 Oct 2015 07:28:00 GMT')

test('Retry-After in both forms', () => {
  expect(parseRetryAfter('120', { now })).toBe(120_000)
  expect(parseRetryAfter('0', { now })).toBe(0)
  expect(parseRetryAfter('Wed, 21 Oct 2015 07:28:30 GMT', { now })).toBe(30_000)
  expect(parseRetryAfter('Wednesday, 21-Oct-15 07:28:30 GMT', { now })).toBe(30_000)
  expect(parseRetryAfter('Wed, 21 Oct 2015 07:00:00 GMT', { now })).toBe(0)
  for (const nonsense of [undefined, '', '-5', 'soon', '1.5', '2015-10-21', '99999999999999']) {
    expect(parseRetryAfter(nonsense, { now })).toBeUndefined()
  }
})

test("a date is one of the registry's clock", () => {
  const wrong = { date: 'Wed, 21 Oct 2015 10:00:00 GMT', now }
  expect(parseRetryAfter('Wed, 21 Oct 2015 10:00:42 GMT', wrong)).toBe(42_000)
  expect(parseRetryAfter('42', wrong)).toBe(42_000)
  expect(parseRetryAfter('Wed, 21 Oct 2015 07:28:30 GMT', { date: 'nonsense', now })).toBe(30_000)
})

test('no header asks for more than a year', () => {
  const year = 366 * 24 * 3600 * 1000
  fc.assert(
    fc.property(fc.string(), fc.string(), (value, date) => {
      const wait = parseRetryAfter(value, { date, now }) ?? 0
      expect(wait >= 0 && wait <= year).toBe(true)
    }),
  )
  expect(parseRetryAfter('9999999999', { now })).toBe(year)
  expect(parseRetryAfter('Wed, 21 Oct 9999 07:28:30 GMT', { now })).toBe(year)
})

test("Docker Hub's quota", () => {
  expect(
    parseQuota({
      'ratelimit-limit': '100;w=21600',
      'ratelimit-remaining': '7;w=21600',
      'docker-ratelimit-source': '2001:db8::1',
    }),
  ).toEqual({ limit: 100, remaining: 7, window: 21_600, source: '2001:db8::1' })
  expect(parseQuota({ 'ratelimit-remaining': ' 7 ' })).toEqual({
    limit: undefined,
    remaining: 7,
    window: undefined,
    source: undefined,
  })
  expect(parseQuota({ 'ratelimit-remaining': '7', 'docker-ratelimit-source': 'x\u001b[2J' })?.source).toBe(
    undefined,
  )
  for (const nonsense of ['', '-1', 'many', '7;w=', '7;w=21600;x', '99999999999']) {
    expect(parseQuota({ 'ratelimit-remaining': nonsense })).toBeUndefined()
  }
})

test('times by the clock, and spans', () => {
  const noon = new Date(2026, 10, 21, 12, 0, 0).getTime()
  expect(formatTime(noon + 3_723_000, noon)).toBe('13:02:03')
  expect(formatTime(noon + 13 * 3_600_000, noon)).toBe('2026-11-22 01:00:00')
  expect([42_000, 60_000, 90_000, 21_600_000, 7_320_000].map(formatSpan)).toEqual([
    '42 s',
    '1 min',
    '1 min 30 s',
    '6 h',
    '2 h 2 min',
  ])
})
