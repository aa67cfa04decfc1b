import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseRate, parseTimeout } from '../../../src/cli/input/registries.ts'
import { AirgapError } from '../../../src/errors.ts'

const thrown = (work: () => unknown): unknown => {
  try {
    return work()
  } catch (error) {
    return error
  }
}

test('times', () => {
  for (const [text, ms] of [
    ['30s', 30_000],
    ['2m', 120_000],
    ['1h', 3_600_000],
    ['45', 45_000],
    ['1.5m', 90_000],
    ['90 s', 90_000],
  ] as const) {
    expect(parseTimeout(text)).toBe(ms)
  }
  for (const text of ['', '0', '0.5s', '-1', '2d', '1e3', '25h', 's', '30ss', 'Infinity', '٣s']) {
    expect(thrown(() => parseTimeout(text))).toMatchObject({ code: 'USAGE' })
  }
})

test('rates', () => {
  for (const [text, bytes] of [
    ['10MB', 10_000_000],
    ['500KiB', 512_000],
    ['2.5MiB', 2_621_440],
    ['1GB', 1e9],
    ['100000', 100_000],
    ['10mb/s', 10_000_000],
    ['10 MB', 10_000_000],
    ['2048B', 2048],
  ] as const) {
    expect(parseRate(text)).toBe(bytes)
  }
  for (const text of ['', '0', '1000', '10Mbit', '10MBps', '-1MB', '1TB', 'MB', '1e9', '1 constructor']) {
    expect(thrown(() => parseRate(text))).toMatchObject({ code: 'USAGE' })
  }
})

test('whatever is written is a finite number or an error of usage', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      for (const parse of [parseTimeout, parseRate]) {
        const value = thrown(() => parse(text))
        const isSound =
          typeof value === 'number'
            ? value >= 1000 && Number.isSafeInteger(value)
            : value instanceof AirgapError
        expect(isSound).toBe(true)
      }
    }),
  )
})
