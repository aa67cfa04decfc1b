import { Readable } from 'node:stream'
import pLimit from 'p-limit'
import { expect, test } from 'vitest'
import { likeness } from '../../../../src/content/failures.ts'
import { AirgapError } from '../../../../src/errors.ts'
import { statusError } from '../../../../src/registry/faults/meaning.ts'
import { transportError } from '../../../../src/registry/faults/transport.ts'
import type { RegistryNotice } from '../../../../src/registry/notices.ts'
import { Hosts } from '../../../../src/registry/net/throttle/hosts.ts'
import { formatTime } from '../../../../src/bytes.ts'
import { DEFAULT_RETRY, type RetryPolicy } from '../../../../src/registry/net/throttle/host.ts'
import { withRetry } from '../../../../src/registry/net/retry.ts'
import { FakeClock } from './fake-clock.ts'
import { hintOf } from '../../../../src/cli/words/hints.ts'

/** What a host does with a request: a status with headers, or an error's code instead of an answer. */
type Answer = { status: number; headers?: Record<string, string>; body?: Readable } | { error: string }
interface Sent {
  at: number
  host: string
  id: number
}

const OK = { status: 200 }
const refused = { error: 'ECONNREFUSED' }
const busy = (retryAfter?: string | number, status = 429): Answer => ({
  status,
  headers: retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) },
})

function network(
  answer: (sent: Sent, all: readonly Sent[]) => Answer,
  options: { policy?: Partial<RetryPolicy>; concurrency?: number } = {},
) {
  const clock = new FakeClock()
  const notices: RegistryNotice[] = []
  const onNotice = (notice: RegistryNotice): void => void notices.push(notice)
  const policy = { ...DEFAULT_RETRY, ...options.policy }
  const hosts = new Hosts({ policy, clock, concurrency: options.concurrency, onNotice })
  const sent: Sent[] = []
  const began = clock.now()
  let ids = 0
  const get = (
    host = 'r.example',
    { counts = true, signal }: { counts?: boolean; signal?: AbortSignal } = {},
  ): Promise<string> => {
    const id = ++ids
    const context = { registry: host, operation: `get ${id}` }
    return withRetry({ policy, context, onNotice, hosts, signal }, async () => {
      const { response, chunks, withOrigin } = await hosts.send(
        { host, context, counts, hasBody: true, withinMs: 60_000, signal },
        async () => {
          const one = { at: clock.now() - began, host, id }
          sent.push(one)
          await new Promise((resolve) => setImmediate(resolve))
          const found = answer(one, sent)
          if ('error' in found) {
            throw transportError(Object.assign(new Error('x'), { code: found.error }), context, host)
          }
          const { status, headers = {}, body = Readable.from([Buffer.from('x')]) } = found
          return { statusCode: status, headers, body }
        },
      )
      try {
        for await (const chunk of chunks) void chunk
      } catch (error) {
        throw transportError(error, context, host)
      }
      if (response.statusCode === 200) return 'ok'
      const { 'retry-after': retryAfter } = response.headers
      throw withOrigin(
        statusError(
          {
            status: response.statusCode,
            contentType: '',
            body: Buffer.alloc(0),
            auth: { kind: 'none' },
            retryAfter,
          },
          context,
        ),
      )
    })
  }
  const told = (type: RegistryNotice['type']): RegistryNotice[] => notices.filter((one) => one.type === type)
  return { clock, hosts, get, sent, notices, told, began }
}

/** Settles at once, so that nothing is left unhandled while time passes. */
const outcome = (work: Promise<string>): Promise<string | AirgapError> =>
  work.catch((error: unknown) => {
    if (error instanceof AirgapError) return error
    throw error
  })

test('a busy registry is left alone by all requests, which is told once', async () => {
  const { clock, get, sent, told, began } = network(({ at }) => (at < 42_000 ? busy(42) : OK))
  const all = Promise.all(Array.from({ length: 6 }, () => get()))
  await clock.pass(41_999)
  expect(sent).toHaveLength(6)
  const late = get()
  await clock.pass(0)
  expect(sent).toHaveLength(6)
  await clock.pass(60_000)
  expect(await all).toEqual(Array.from({ length: 6 }, () => 'ok'))
  expect(await late).toBe('ok')
  expect(sent).toHaveLength(13)
  expect(told('held')).toEqual([
    {
      type: 'held',
      registry: 'r.example',
      status: 429,
      reason: 'r.example is busy (429 Too Many Requests)',
      delayMs: 42_000,
      until: began + 42_000,
    },
  ])
  expect(told('retry')).toEqual([])
})

test('after a hold one goes first, and the others wait for what becomes of it', async () => {
  const bodies: Readable[] = []
  const { clock, get, sent } = network(({ at }) => {
    if (at < 5000) return busy(5)
    const body = new Readable({ read: () => {} })
    bodies.push(body)
    return { status: 200, body }
  })
  const all = Promise.all(Array.from({ length: 4 }, () => get()))
  await clock.pass(5000)
  expect(sent).toHaveLength(5)
  // Its head has come, and the host is no longer held; yet there is room for one transfer only, until it has ended.
  await clock.pass(10)
  expect(sent).toHaveLength(5)
  bodies[0]?.push(null)
  await clock.pass(10)
  expect(sent).toHaveLength(7)
  bodies.slice(1).forEach((body) => body.push(null))
  await clock.pass(10)
  expect(sent).toHaveLength(8)
  bodies.slice(3).forEach((body) => body.push(null))
  await all
})

test('a first one that is answered late does not hold up the others for long', async () => {
  let release: (() => void) | undefined
  const network = slowFirst((done) => (release = done))
  const all = Promise.all([network.get(), network.get(), network.get()])
  await network.clock.pass(1000)
  expect(network.sent.length).toBe(4)
  await network.clock.pass(1999)
  expect(network.sent.length).toBe(4)
  // The second one is answered, and lets the third go.
  await network.clock.pass(1)
  expect(network.sent.length).toBe(6)
  release?.()
  await network.clock.pass(10)
  expect(await all).toEqual(['ok', 'ok', 'ok'])
})

/** Three are turned away; of those that come afterwards the first is answered when the test says so. */
function slowFirst(whenAsked: (release: () => void) => void) {
  const clock = new FakeClock()
  const hosts = new Hosts({ clock, concurrency: 6 })
  const sent: number[] = []
  const context = { registry: 'r.example', operation: 'get' }
  const get = (): Promise<string> =>
    withRetry({ policy: hosts.policy, context, onNotice: () => {}, hosts }, async () => {
      const { response, chunks, withOrigin } = await hosts.send(
        { host: 'r.example', context, counts: false, hasBody: true, withinMs: 60_000 },
        async () => {
          const number = sent.push(clock.now())
          await new Promise((resolve) => setImmediate(resolve))
          if (number === 4) await new Promise<void>((resolve) => whenAsked(resolve))
          const headers: Record<string, string> = number <= 3 ? { 'retry-after': '1' } : {}
          return { statusCode: number <= 3 ? 503 : 200, headers, body: Readable.from([]) }
        },
      )
      for await (const chunk of chunks) void chunk
      if (response.statusCode === 200) return 'ok'
      const failed = { status: 503, contentType: '', body: Buffer.alloc(0), auth: { kind: 'none' } } as const
      throw withOrigin(statusError(failed, context))
    })
  return { clock, sent, get }
}

test('a limit beyond all patience ends the waiting at once, with the time by the clock', async () => {
  const { clock, get, sent, began } = network(() => busy(3720))
  const all = Promise.all([outcome(get()), outcome(get())])
  await clock.pass(10)
  const [first] = (await all) as [AirgapError, AirgapError]
  expect(first.code).toBe('RATE_LIMITED')
  expect(first.message).toMatch(
    /^cannot get 1: too many requests, until .*: r\.example answers 429 Too Many Requests$/,
  )
  const ends = formatTime(began + 3_720_000, began)
  expect(hintOf(first)).toContain(
    `The limit ends at ${ends}, in 1 h 2 min; airgap waits for 5 min at most. Wait, log in for a higher limit (airgap login r.example)`,
  )
  // What comes later is not sent at all, and is told the same.
  const later = (await outcome(get())) as AirgapError
  expect(later.message).toContain('cannot get 3: r.example is busy (429 Too Many Requests)')
  expect(hintOf(later)).toContain(`The limit ends at ${ends}`)
  expect(sent).toHaveLength(2)
  // When the limit has ended, it is asked again.
  await clock.pass(3_720_000)
  const again = outcome(get())
  await clock.pass(10)
  expect(sent).toHaveLength(3)
  await again
})

test('short waits that follow each other are counted together', async () => {
  const { clock, get, sent } = network(() => busy(60))
  const failed = outcome(get())
  await clock.pass(299_000)
  expect(sent).toHaveLength(5)
  await clock.pass(10_000)
  expect(hintOf((await failed) as AirgapError)).toContain('airgap waits for 5 min at most')
  expect(sent).toHaveLength(6)
})

test('one that asks for a second again and again is asked ever less often', async () => {
  const { clock, get, sent } = network(() => busy(1))
  clock.dice = 1
  const failed = outcome(get())
  await clock.pass(600_000)
  expect(((await failed) as AirgapError).code).toBe('RATE_LIMITED')
  expect(sent.length).toBeLessThan(20)
  const gaps = sent.slice(1).map(({ at }, i) => at - (sent[i]?.at ?? 0))
  expect(Math.max(...gaps)).toBe(30_000)
})

test('without Retry-After the waits double and attempts are bounded, for all together', async () => {
  const { clock, get, sent, told } = network(() => busy(undefined, 503), { concurrency: 4 })
  clock.dice = 1
  const all = Promise.all([1, 2, 3, 4].map(() => outcome(get())))
  await clock.pass(60_000)
  for (const error of await all) expect((error as AirgapError).message).toMatch(/503 Service Unavailable/)
  // Four at once, and then one each time.
  expect(sent.map(({ at }) => at)).toEqual([0, 0, 0, 0, 500, 1500, 3500, 7500])
  expect(told('unavailable')).toHaveLength(1)
  expect(told('held').length).toBeLessThanOrEqual(4)
})

test('one path that is always busy does not end the others, nor wait for ever', async () => {
  const { clock, get } = network(({ id }) => (id === 1 ? busy(0, 503) : OK))
  const bad = outcome(get())
  const others: Promise<string>[] = []
  for (let i = 0; i < 12; i++) {
    others.push(get())
    await clock.pass(1000)
  }
  await clock.pass(60_000)
  expect(((await bad) as AirgapError).message).toContain('answers 503')
  expect(await Promise.all(others)).toEqual(others.map(() => 'ok'))
})

test('one that is turned away for as long as others are served is given up after all patience', async () => {
  const { clock, get } = network(({ id }) => (id === 1 ? busy(1) : OK))
  const bad = outcome(get())
  let ended: unknown
  void bad.then((error) => (ended = error))
  for (let i = 0; i < 60; i++) {
    await clock.pass(2000)
    expect(ended).toBeUndefined()
    const good = get()
    await clock.pass(3000)
    expect(await good).toBe('ok')
  }
  for (let i = 0; i < 10; i++) await clock.pass(5000)
  expect(ended).toMatchObject({ code: 'RATE_LIMITED' })
})

test('--retries 0 means none, also where the registry says when', async () => {
  const { clock, get, sent } = network(() => busy(1), { policy: { attempts: 1 } })
  const failed = outcome(get())
  await clock.pass(5000)
  expect(((await failed) as AirgapError).code).toBe('RATE_LIMITED')
  expect(sent).toHaveLength(1)
})

test('a host that is not there is found out once for all, and asked again a while later', async () => {
  let isThere = false
  const { clock, get, sent, told } = network(() => (isThere ? OK : refused))
  const all = Promise.all(Array.from({ length: 6 }, () => outcome(get('mirror.example'))))
  await clock.pass(5000)
  for (const error of await all) {
    expect((error as AirgapError).code).toBe('NETWORK')
    expect((error as AirgapError).message).toContain(
      'nothing listens there (connection refused, ECONNREFUSED)',
    )
  }
  // Three attempts, of which the first was six at once.
  expect(sent).toHaveLength(8)
  expect(told('unavailable')).toEqual([
    {
      type: 'unavailable',
      registry: 'mirror.example',
      reason: 'mirror.example: nothing listens there (connection refused, ECONNREFUSED)',
    },
  ])
  // Fails at once, and says why.
  for (let i = 0; i < 50; i++) {
    const error = (await outcome(get('mirror.example'))) as AirgapError
    expect(error.message).toMatch(/^cannot get \d+: mirror\.example: nothing listens there /)
  }
  expect(sent).toHaveLength(8)
  // A try now and then, at longer and longer intervals, one at a time.
  for (let i = 0; i < 120; i++) {
    await clock.pass(1000)
    await Promise.all([outcome(get('mirror.example')), outcome(get('mirror.example'))])
  }
  expect(sent).toHaveLength(11)
  isThere = true
  await clock.pass(60_000)
  expect(await get('mirror.example')).toBe('ok')
  expect(await Promise.all([get('mirror.example'), get('mirror.example')])).toEqual(['ok', 'ok'])
  expect(told('unavailable')).toHaveLength(1)
})

test('a host that was there a moment ago is given the time to start anew', async () => {
  let isThere = true
  const { clock, get, sent, told } = network(() => (isThere ? OK : refused))
  clock.dice = 0.5
  expect(await get()).toBe('ok')
  isThere = false
  const during = Promise.all([outcome(get()), outcome(get())])
  await clock.pass(20_000)
  isThere = true
  await clock.pass(20_000)
  expect(await during).toEqual(['ok', 'ok'])
  expect(told('unavailable')).toEqual([])

  isThere = false
  const before = sent.length
  const gone = outcome(get())
  await clock.pass(90_000)
  expect(((await gone) as AirgapError).message).toContain('nothing listens there')
  expect(sent.length - before).toBe(10)
})

test('nothing is tried again of a host that was there, where nothing is to be tried again', async () => {
  let isThere = true
  const { clock, get, sent } = network(() => (isThere ? OK : refused), { policy: { attempts: 1 } })
  await get()
  isThere = false
  const gone = outcome(get())
  await clock.pass(1000)
  expect(((await gone) as AirgapError).code).toBe('NETWORK')
  expect(sent).toHaveLength(2)
})

test('a host that only breaks off is given up too, when nothing has come from it meanwhile', async () => {
  const { clock, get, sent, told } = network(() => ({ error: 'ECONNRESET' }), { concurrency: 1 })
  const failed = outcome(get())
  await clock.pass(60_000)
  expect(((await failed) as AirgapError).message).toContain('the connection was reset')
  expect(sent).toHaveLength(5)
  // Nobody else is concerned yet.
  expect(told('unavailable')).toEqual([])
  const trial = outcome(get())
  const other = (await outcome(get())) as AirgapError
  expect(other.message).toMatch(/^cannot get 3: r\.example: the connection was reset \(\w+\)$/)
  await trial
  expect(sent).toHaveLength(6)
  expect(told('unavailable')).toHaveLength(1)
})

test('one request that always breaks does not give up a host that serves others', async () => {
  const { clock, get, told } = network(({ id }) => (id === 1 ? { error: 'ECONNRESET' } : OK))
  clock.dice = 0.9
  const bad = outcome(get())
  for (let i = 0; i < 20; i++) {
    await clock.pass(1000)
    const good = get()
    await clock.pass(1)
    expect(await good).toBe('ok')
  }
  expect(((await bad) as AirgapError).code).toBe('NETWORK')
  expect(told('unavailable')).toEqual([])
  expect(told('retry')).toHaveLength(4)
})

test('a host whose every answer is a fault of its own is given up after a while, and told alike to all', async () => {
  const { clock, get, sent, told } = network(() => ({ status: 500 }), { policy: { attempts: 2 } })
  clock.dice = 0.9
  const faults: AirgapError[] = []
  for (let i = 0; i < 9; i++) {
    const failed = outcome(get())
    await clock.pass(10_000)
    faults.push((await failed) as AirgapError)
  }
  expect(sent).toHaveLength(18)
  const last = outcome(get())
  await clock.pass(10_000)
  const refused = (await outcome(get())) as AirgapError
  expect(sent).toHaveLength(20)
  expect(told('unavailable')).toHaveLength(1)
  expect(new Set([await last, refused].map((error) => likeness(error as AirgapError))).size).toBe(1)
  expect(refused).toMatchObject({ code: 'REGISTRY', reason: faults[0]?.reason })
})

test.each([
  ['another answer in between', ({ id }: Sent): Answer => ({ status: id % 9 === 0 ? 404 : 500 }), 10_000],
  ['a short break', (): Answer => ({ status: 500 }), 2000],
])('%s is no reason to give up a host', async (_, answer, everyMs) => {
  const { clock, get, told } = network(answer, { policy: { attempts: 2 } })
  clock.dice = 0.9
  for (let i = 0; i < 14; i++) {
    const failed = outcome(get())
    await clock.pass(everyMs)
    await failed
  }
  expect(told('unavailable')).toEqual([])
})

test('hosts are held one by one', async () => {
  const { clock, get } = network(({ host }) => (host === 'a.example' ? busy(30) : OK))
  const held = outcome(get('a.example'))
  expect(await get('b.example')).toBe('ok')
  await clock.pass(10)
  expect(await get('b.example')).toBe('ok')
  await clock.pass(600_000)
  await held
})

test('who waits can be called off, and the client closed', async () => {
  const { clock, get, hosts } = network(() => busy(100))
  const first = outcome(get())
  await clock.pass(10)
  const abort = new AbortController()
  const second = outcome(get('r.example', { signal: abort.signal }))
  await clock.pass(10)
  abort.abort(new AirgapError('INTERRUPTED', 'enough'))
  expect(await second).toMatchObject({ code: 'INTERRUPTED', message: 'enough' })
  hosts.close(new AirgapError('INTERRUPTED', 'closed'))
  expect(await first).toMatchObject({ code: 'INTERRUPTED', message: 'closed' })
  expect(clock.next).toBeUndefined()
})

test('transfers become fewer when a registry pushes back, and more again; bodies count', async () => {
  const open: { body: Readable; id: number }[] = []
  let isBusy = true
  const { clock, get, told } = network(
    ({ id }) => {
      if (isBusy) return busy(1)
      const body = new Readable({ read: () => {} })
      open.push({ body, id })
      return { status: 200, body }
    },
    { concurrency: 8 },
  )
  const limit = pLimit(8)
  const all = Array.from({ length: 40 }, () => limit(() => get()))
  await clock.pass(500)
  isBusy = false
  const counts: number[] = []
  for (let turn = 0; turn < 60; turn++) {
    await clock.pass(2000)
    counts.push(open.length)
    const [next] = open.splice(0, 1)
    next?.body.push(null)
  }
  expect(await Promise.all(all)).toHaveLength(40)
  expect(counts[0]).toBe(1)
  expect(Math.max(...counts)).toBe(8)
  // Fast up to half of what there was, and then slowly.
  expect(counts.slice(0, 4)).toEqual([1, 2, 3, 4])
  expect(counts.indexOf(8)).toBeGreaterThan(12)
  expect(told('slower')).toEqual([{ type: 'slower', registry: 'r.example', transfers: 4, before: 8 }])
})

test('transfers that break again and again become fewer', async () => {
  const { clock, get, told, hosts } = network(
    ({ at }) => {
      if (at > 100) return OK
      const body = new Readable({ read: () => {} })
      setImmediate(() => body.destroy(Object.assign(new Error('x'), { code: 'ECONNRESET' })))
      return { status: 200, body }
    },
    { concurrency: 6 },
  )
  clock.dice = 0.9
  const all = Promise.all(Array.from({ length: 6 }, () => get()))
  await clock.pass(60_000)
  expect(await all).toHaveLength(6)
  expect(told('slower')).toEqual([{ type: 'slower', registry: 'r.example', transfers: 3, before: 6 }])
  expect(hosts.rate).toBeUndefined()
})

test('what another request waits for does not stand behind transfers', async () => {
  const bodies: Readable[] = []
  const { clock, get, sent } = network(
    ({ at, id }) => {
      if (at < 1000) return busy(1)
      if (id === 4) return OK
      const body = new Readable({ read: () => {} })
      bodies.push(body)
      return { status: 200, body }
    },
    { concurrency: 2 },
  )
  const all = Promise.all([get(), get(), get()])
  await clock.pass(1500)
  expect(bodies).toHaveLength(1)
  const token = get('r.example', { counts: false })
  await clock.pass(1)
  expect(await token).toBe('ok')
  expect(bodies).toHaveLength(1)
  for (let i = 0; i < 4; i++) {
    bodies.forEach((body) => body.push(null))
    await clock.pass(3000)
  }
  await all
  expect(sent.filter(({ at }) => at >= 1000)).toHaveLength(4)
})

test('what Docker Hub says of its limit is told when it gets low, and once more', async () => {
  const left = [100, 40, 21, 20, 19, 12, 10, 9, 8, 0, 30]
  const { clock, get, told } = network(() => ({
    status: 200,
    headers: {
      'ratelimit-limit': '100;w=21600',
      'ratelimit-remaining': `${left.shift()};w=21600`,
      'docker-ratelimit-source': '192.0.2.7',
    },
  }))
  for (let i = 0; i < 11; i++) {
    const got = get('docker.io')
    await clock.pass(1)
    await got
  }
  expect(told('quota')).toEqual(
    [20, 9].map((remaining) => ({
      type: 'quota',
      registry: 'docker.io',
      remaining,
      limit: 100,
      windowSeconds: 21_600,
      source: '192.0.2.7',
    })),
  )
})

test('the limit of Docker Hub is named where it is used up', async () => {
  const { clock, get } = network(() => ({
    status: 429,
    headers: {
      'ratelimit-limit': '100;w=21600',
      'ratelimit-remaining': '0;w=21600',
      'docker-ratelimit-source': '0b9d8e6c-account',
    },
  }))
  const failed = outcome(get('docker.io'))
  await clock.pass(60_000)
  expect(hintOf((await failed) as AirgapError)).toBe(
    'The limit is 100 pulls in 6 h, and frees up bit by bit. Wait, use an account with a higher limit, or use a mirror (--mirror docker.io=HOST).',
  )
})
