import fc from 'fast-check'
import { expect, test } from 'vitest'
import { RateLimit } from '../../../../src/registry/net/throttle/rate-limit.ts'
import { FakeClock } from './fake-clock.ts'

test('what goes through never exceeds the rate, over any time, and nothing is held back for nothing', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1024, max: 50_000_000 }),
      fc.array(fc.array(fc.integer({ min: 1, max: 300_000 }), { minLength: 1, maxLength: 6 }), {
        minLength: 1,
        maxLength: 4,
      }),
      async (rate, streams) => {
        const clock = new FakeClock()
        const limit = new RateLimit(rate, clock)
        const began = clock.now()
        const through: { at: number; bytes: number }[] = []
        const all = Promise.all(
          streams.map(async (chunks) => {
            for (const bytes of chunks) {
              await limit.take(bytes)
              through.push({ at: clock.now() - began, bytes })
            }
          }),
        )
        const total = streams.flat().reduce((sum, bytes) => sum + bytes, 0)
        while (through.length < streams.flat().length) await clock.pass(clock.next ?? 0)
        await all
        let sum = 0
        // A quarter of a second's worth may go at once, and so may what is asked for in one piece when its time comes.
        for (const { at, bytes } of through) {
          sum += bytes
          expect(sum).toBeLessThanOrEqual(rate * (at / 1000 + 0.25001) + 1)
        }
        const took = (through.at(-1)?.at ?? 0) / 1000
        expect(took).toBeLessThanOrEqual(total / rate + 0.001)
      },
    ),
    { numRuns: 20 },
  )
})

test('large chunks go out in small pieces, all of their bytes in order, by ten a second', async () => {
  const clock = new FakeClock()
  const limit = new RateLimit(100_000, clock)
  expect(limit.piece).toBe(10_000)
  const bytes = Buffer.from(Array.from({ length: 95_000 }, (_, i) => i % 251))
  const pieces: { at: number; bytes: Uint8Array }[] = []
  const done = (async () => {
    const source = async function* (): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 60_000)
      yield bytes.subarray(60_000)
    }
    for await (const piece of limit.pace(source())) pieces.push({ at: clock.now(), bytes: piece })
  })()
  await clock.pass(2000)
  await done
  expect(Buffer.concat(pieces.map((piece) => piece.bytes)).equals(bytes)).toBe(true)
  expect(Math.max(...pieces.map((piece) => piece.bytes.length))).toBe(10_000)
  const gaps = pieces.slice(1).map(({ at }, i) => at - (pieces[i]?.at ?? 0))
  expect(Math.max(...gaps)).toBeLessThanOrEqual(100)
})

test('a limit that is closed lets everybody go', async () => {
  const clock = new FakeClock()
  const limit = new RateLimit(1024, clock)
  const waiting = Promise.all([limit.take(1e9), limit.take(1e9)])
  limit.close()
  await waiting
  await limit.take(1e9)
  expect(clock.next).toBeUndefined()
})
