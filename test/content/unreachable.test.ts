import { expect, onTestFinished, test, vi } from 'vitest'
import { AirgapError } from '../../src/errors.ts'

import { Unreachable } from '../../src/content/failures.ts'

/** Things that cannot be had, one after the other, so many milliseconds apart. */
function world(): { now: number } {
  const clock = { now: 0 }
  const spy = vi.spyOn(performance, 'now').mockImplementation(() => clock.now)
  onTestFinished(() => spy.mockRestore())
  return clock
}

const network = new AirgapError('NETWORK', 'nothing listens there')
const fails = async (): Promise<never> => {
  throw network
}

test('a registry that is gone for long is given up, and only that one', async () => {
  const clock = world()
  const unreachable = new Unreachable()
  let asked = 0
  const errors = new Set<unknown>()
  for (let i = 0; i < 100; i++) {
    await unreachable
      .ask(['mirror.test', 'gone.test'], async () => {
        asked += 1
        clock.now += 10_000
        throw network
      })
      .catch((error: unknown) => errors.add(error))
  }
  expect(asked).toBe(10)
  const [first, last] = [...errors]
  expect(errors.size).toBe(2)
  expect(first).toBe(network)
  expect(last).toMatchObject({
    code: 'NETWORK',
    message: expect.stringContaining('mirror.test, gone.test') as string,
  })
  expect(unreachable.isUntried(last)).toBe(true)
  expect(unreachable.isUntried(first)).toBe(false)
  expect(await unreachable.ask(['gone.test'], async () => 'there')).toBe('there')
})

test('a short break, a success or another answer in between is no reason', async () => {
  const clock = world()
  const short = new Unreachable()
  for (let i = 0; i < 1000; i++) await expect(short.ask(['r.test'], fails)).rejects.toBe(network)

  const answers: (() => Promise<unknown>)[] = [
    async () => 'there',
    async () => {
      throw new AirgapError('NOT_FOUND', 'no such thing')
    },
  ]
  for (const answer of answers) {
    const unreachable = new Unreachable()
    for (let i = 0; i < 50; i++) {
      clock.now += 10_000
      const outcome = unreachable.ask(['r.test'], i % 9 === 8 ? answer : fails)
      await outcome.catch((error: unknown) => expect(unreachable.isUntried(error)).toBe(false))
    }
  }
})

test('one whose every answer is a fault of its own is given up, too', async () => {
  const clock = world()
  const unreachable = new Unreachable()
  const fault = new AirgapError('REGISTRY', 'r.test answers 500').with({ transience: {} })
  let last: unknown
  for (let i = 0; i < 20; i++) {
    await unreachable
      .ask(['r.test'], async () => {
        clock.now += 10_000
        throw fault
      })
      .catch((error: unknown) => (last = error))
  }
  expect(clock.now).toBe(100_000)
  expect(last).toMatchObject({ code: 'REGISTRY', message: expect.stringContaining('not tried') as string })
})
