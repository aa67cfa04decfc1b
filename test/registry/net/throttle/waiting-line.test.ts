import { expect, test } from 'vitest'
import { WaitingLine } from '../../../../src/registry/net/throttle/waiting-line.ts'

test.each([0, 1, 2, 3, 4])(
  'a wait that ends at the %ith look at the clock leaves nobody behind',
  async (end) => {
    let looks = 0
    const timers: (() => void)[] = []
    const line = new WaitingLine({
      now: () => looks++,
      after: (_, done) => {
        timers.push(done)
        return () => void timers.splice(timers.indexOf(done), 1)
      },
      random: () => 0,
    })
    let hasGone = false
    const waiting = line.wait(
      { counts: false, context: { operation: 'read', registry: 'r.example' } },
      () => {
        hasGone = true
      },
    )
    line.pump(
      () => looks++ >= end,
      () => end - looks++,
    )
    while (timers.length > 0) timers.shift()?.()
    expect(hasGone).toBe(true)
    await waiting
  },
)

test('who waits for others, and not for a time, sets no timer', async () => {
  let timers = 0
  const after = (): (() => void) => {
    timers++
    return () => {}
  }
  const line = new WaitingLine({ now: () => 0, after, random: () => 0 })
  const gone = line.wait(
    { counts: true, context: { operation: 'read', registry: 'r.example' } },
    () => 'gone',
  )
  line.pump(
    () => false,
    () => -1,
  )
  expect(timers).toBe(0)
  line.pump(
    () => true,
    () => undefined,
  )
  expect(await gone).toBe('gone')
})
