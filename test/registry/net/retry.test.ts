import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AirgapError } from '../../../src/errors.ts'
import type { RegistryNotice } from '../../../src/registry/notices.ts'
import { DEFAULT_RETRY } from '../../../src/registry/net/throttle/host.ts'
import { delayAfter, withRetry } from '../../../src/registry/net/retry.ts'
import { failureOf } from '../../support/client.ts'

const context = { registry: 'r.example', operation: 'do it' }
const policy = { attempts: 4, baseDelayMs: 1, maxDelayMs: 2, patienceMs: 3 }
const passing = (attempts?: number): AirgapError =>
  new AirgapError('NETWORK', 'broken').with({ transience: { attempts } })

async function run(fail: (n: number) => unknown, extra: { progressed?: () => boolean } = {}) {
  const notices: RegistryNotice[] = []
  let calls = 0
  const result = withRetry({ policy, context, onNotice: (n) => notices.push(n), ...extra }, async (n) => {
    calls = n
    const error = fail(n)
    if (error !== undefined) throw error
    return 'done'
  })
  return { result: await result.catch((error: unknown) => error), calls, notices }
}

test('what passes is tried again and told', async () => {
  const { result, notices } = await run((n) => (n < 3 ? passing() : undefined))
  expect(result).toBe('done')
  expect(notices).toMatchObject([
    { type: 'retry', registry: 'r.example', operation: 'do it', attempt: 1, reason: 'broken' },
    { attempt: 2 },
  ])
})

test('attempts are bounded, by the policy and by the error', async () => {
  expect((await run(() => passing())).calls).toBe(4)
  expect((await run(() => passing(2))).calls).toBe(2)
})

test('what does not pass is not tried again', async () => {
  const { result, calls } = await run(() => new AirgapError('DENIED', 'no'))
  expect(result).toMatchObject({ code: 'DENIED' })
  expect(calls).toBe(1)
})

test('real progress starts the count anew', async () => {
  const { result, calls } = await run((n) => (n < 12 ? passing() : undefined), { progressed: () => true })
  expect([result, calls]).toEqual(['done', 12])
})

test('an abort ends the wait at once', async () => {
  const abort = new AbortController()
  const slow = { ...policy, baseDelayMs: 1e9, maxDelayMs: 1e9 }
  const onNotice = (): void => abort.abort()
  const result = withRetry({ policy: slow, context, onNotice, signal: abort.signal }, () =>
    Promise.reject(passing()),
  )
  const error = await failureOf(result, 'INTERRUPTED')
  expect(error.message).toBe('cannot do it: it was interrupted')
})

test('the delay is anywhere below a bound that doubles up to a limit', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 60 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (failures, random) => {
        const delay = delayAfter(failures, {}, DEFAULT_RETRY, () => random)
        const bound = Math.min(30_000, 500 * 2 ** (failures - 1))
        expect(delay).toBe(Math.round(random * bound))
      },
    ),
  )
})

test('Retry-After is obeyed as long as patience lasts, never undercut', () => {
  const asked = (ms: number, random: number): number =>
    delayAfter(1, { retryAfterMs: ms }, DEFAULT_RETRY, () => random)
  expect(asked(7000, 0)).toBe(7000)
  expect(asked(7000, 0.9)).toBe(7450)
  expect(asked(3_600_000, 0)).toBe(300_000)
})
