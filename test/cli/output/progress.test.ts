import { Writable } from 'node:stream'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Log } from '../../../src/cli/output/log.ts'
import { phaseText, Progress, progressText } from '../../../src/cli/output/progress.ts'
import { ProgressState, type ProgressSnapshot } from '../../../src/cli/output/progress-state.ts'
import { blobProgress, type Phase, type TransferEvent } from '../../../src/content/events.ts'
import { ImageProgress, imageByImage } from '../../../src/content/image-progress.ts'
import { logLines } from '../../support/schemas.ts'

const MB = 1_000_000
const PHASES: Phase[] = ['resolve', 'fetch', 'check', 'upload', 'tag', 'read-back']

const amount = fc.integer({ min: -5, max: 50 })
const event: fc.Arbitrary<TransferEvent> = fc.oneof(
  fc.record({
    type: fc.constant('phase' as const),
    phase: fc.constantFrom(...PHASES),
    items: fc.nat(20),
    bytes: fc.nat(500),
    images: fc.nat(9),
  }),
  fc.record({ type: fc.constant('more' as const), bytes: amount }),
  fc.record({ type: fc.constant('progress' as const), bytes: fc.integer({ min: -300, max: 300 }) }),
  fc.record({
    type: fc.constantFrom('item' as const, 'image' as const),
    name: fc.constant('x'),
    bytes: amount,
    outcome: fc.constant('fetched' as const),
  }),
)
const timed = fc.array(fc.tuple(event, fc.nat(20_000)), { maxLength: 60 })

describe('what is counted', () => {
  it('never falls within a phase and never exceeds its total, whatever is told', () => {
    fc.assert(
      fc.property(timed, (events) => {
        const state = new ProgressState()
        let now = 0
        let before: ProgressSnapshot | undefined
        for (const [one, wait] of events) {
          now += wait
          state.apply(one, now)
          const snapshot = state.snapshot(now)
          if (one.type === 'phase') before = undefined
          for (const part of ['images', 'blobs', 'bytes'] as const) {
            const { done, total } = snapshot?.[part] ?? { done: 0, total: 0 }
            expect(done).toBeLessThanOrEqual(total)
            expect(done).toBeGreaterThanOrEqual(before?.[part]?.done ?? 0)
          }
          expect(snapshot?.bytesPerSecond ?? 0).toBeGreaterThanOrEqual(0)
          const left = snapshot?.secondsLeft
          if (left !== undefined) expect(left > 0 && Number.isFinite(left)).toBe(true)
          before = snapshot ?? before
        }
      }),
    )
  })

  it('a blob that starts over counts again only when it is further than before', () => {
    const told: number[] = []
    const { onProgress } = blobProgress((one) => told.push(one.type === 'progress' ? one.bytes : Number.NaN))
    for (const bytes of [10, 25, 0, 10, 25, 40]) onProgress?.(bytes)
    expect(told).toEqual([10, 15, 15])
  })

  it('what turns out to be more raises the total', () => {
    const state = begun({ bytes: 10 })
    state.apply({ type: 'progress', bytes: 10 }, 1)
    state.apply({ type: 'more', bytes: 5 }, 2)
    expect(state.snapshot(3)?.bytes).toEqual({ done: 10, total: 15 })
    state.apply({ type: 'progress', bytes: 5 }, 4)
    expect(state.snapshot(5)?.bytes).toEqual({ done: 15, total: 15 })
  })
})

describe('images', () => {
  it('are done when the last of their blobs is, and say the most that was done for them', () => {
    const told: TransferEvent[] = []
    const images = new ImageProgress(
      [
        { name: 'one', bytes: 3, parts: ['a', 'b', 'a'] },
        { name: 'two', bytes: 2, parts: ['b', 'c'] },
        { name: 'three', bytes: 1, parts: [] },
      ],
      (one) => told.push(one),
    )
    expect(images.count).toBe(3)
    expect(told).toEqual([])
    images.begin()
    expect(told.splice(0)).toEqual([{ type: 'image', name: 'three', bytes: 1, outcome: 'present' }])
    images.done('b', 'uploaded')
    images.done('b', 'uploaded')
    images.done('unknown', 'uploaded')
    expect(told).toEqual([])
    images.done('a', 'present')
    images.done('c', 'mounted')
    expect(told).toEqual([
      { type: 'image', name: 'one', bytes: 3, outcome: 'uploaded' },
      { type: 'image', name: 'two', bytes: 2, outcome: 'uploaded' },
    ])
  })
})

describe('the order of work', () => {
  const sizes = fc.array(
    fc.record({ size: fc.nat(1000), images: fc.uniqueArray(fc.nat(20), { maxLength: 3 }) }),
    {
      maxLength: 60,
    },
  )

  it('keeps every part, begins with the largest, and leaves no image open for the next but one', () => {
    fc.assert(
      fc.property(sizes, (parts) => {
        const given = parts.map((part, i) => ({ ...part, i }))
        const order = imageByImage(
          given,
          ({ size }) => size,
          ({ images }) => images,
        )
        expect(order.toSorted((a, b) => a.i - b.i)).toEqual(given)
        const owned = order.filter(({ images }) => images.length > 0)
        expect(owned[0]?.size ?? 0).toBe(Math.max(0, ...owned.map(({ size }) => size)))
        // Of images that share nothing, each is finished before the next is begun.
        const alone = order.filter(({ images }) => images.length === 1).map(({ images }) => images[0])
        const runs = alone.filter((image, i) => image !== alone[i - 1])
        if (order.every(({ images }) => images.length < 2)) expect(new Set(runs).size).toBe(runs.length)
      }),
    )
  })
})

describe('rate and time left', () => {
  it('are not guessed at the beginning, and are of the last seconds later', () => {
    const state = begun({ bytes: 1000 * MB })
    state.apply({ type: 'progress', bytes: 50 * MB }, 100)
    expect(state.snapshot(200)?.bytesPerSecond).toBeUndefined()
    expect(state.snapshot(200)?.secondsLeft).toBeUndefined()
    // A minute at 1 MB/s, then at 10 MB/s: after 20 seconds nothing of the slow time is left in the rate.
    let now = 100
    for (; now < 60_000; now += 100) state.apply({ type: 'progress', bytes: MB / 10 }, now)
    expect(state.snapshot(now)?.bytesPerSecond).toBeCloseTo(MB, -5)
    for (; now < 80_000; now += 100) state.apply({ type: 'progress', bytes: MB }, now)
    const { bytes, bytesPerSecond, secondsLeft } = state.snapshot(now)!
    expect(bytesPerSecond).toBeGreaterThan(9.8 * MB)
    expect(bytesPerSecond).toBeLessThan(10.3 * MB)
    expect(secondsLeft).toBe(Math.ceil((bytes.total - bytes.done) / bytesPerSecond!))
  })

  it('when nothing comes in any more there is no time left to tell', () => {
    const state = begun({ bytes: 100 })
    for (let now = 100; now <= 5000; now += 100) state.apply({ type: 'progress', bytes: 1 }, now)
    expect(state.snapshot(5000)?.secondsLeft).toBeGreaterThan(0)
    expect(state.snapshot(60_000)?.bytesPerSecond).toBe(0)
    expect(state.snapshot(60_000)?.secondsLeft).toBeUndefined()
  })

  it('when all bytes are there, neither is told', () => {
    const state = begun({ bytes: 100 })
    for (let now = 100; now <= 10_000; now += 100) state.apply({ type: 'progress', bytes: 1 }, now)
    const text = progressText(state.snapshot(10_000)!, 200)
    expect(text).toBe('Fetching  0/3 images  100 B of 100 B')
  })

  it('hold in a long run', () => {
    const state = begun({ bytes: 1e9 })
    for (let now = 0; now < 200_000; now += 1) state.apply({ type: 'progress', bytes: 1 }, now)
    expect(state.snapshot(200_000)?.bytesPerSecond).toBeCloseTo(1000, -2)
  })
})

describe('the line', () => {
  const snapshot = fc.record({
    phase: fc.constantFrom(...PHASES),
    images: fc.option(done(), { nil: undefined }),
    blobs: fc.option(done(), { nil: undefined }),
    bytes: done(),
    bytesPerSecond: fc.option(fc.maxSafeNat(), { nil: undefined }),
    secondsLeft: fc.option(fc.maxSafeNat(), { nil: undefined }),
  })

  it('is never wider than the terminal', () => {
    fc.assert(
      fc.property(snapshot, fc.nat(200), (state, columns) => {
        const text = progressText(state, columns)
        expect(text.length).toBeLessThanOrEqual(columns)
        expect(text).toMatch(/^[ -~]*$/)
      }),
    )
  })

  it('has room for everything in 80 columns, and leaves out the rate first', () => {
    const state: ProgressSnapshot = {
      phase: 'read-back',
      images: { done: 17, total: 124 },
      blobs: { done: 300, total: 900 },
      bytes: { done: 12_300 * MB, total: 45_600 * MB },
      bytesPerSecond: 45 * MB,
      secondsLeft: 12 * 60 + 20,
    }
    expect(progressText(state, 77)).toBe(
      'Reading back  17/124 images  12 GB of 46 GB  45 MB/s  12 min 20 s left',
    )
    expect(progressText(state, 65)).toBe('Reading back  17/124 images  12 GB of 46 GB  12 min 20 s left')
    expect(progressText(state, 45)).toBe('Reading back  17/124 images  12 GB of 46 GB')
    expect(progressText(state, 30)).toBe('Reading back  17/124 images')
    expect(progressText(state, 14)).toBe('17/124 images')
    expect(progressText(state, 4)).toBe('17/1')
    expect(phaseText(state)).toBe('Reading back 124 images, 46 GB')
  })

  it('does not tell of years', () => {
    const state = begun({ bytes: 1e15 })
    state.apply({ type: 'progress', bytes: 10 }, 5000)
    expect(progressText(state.snapshot(10_000)!, 100)).not.toContain('left')
  })
})

describe('without a terminal', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('a line for the phase, for each image and now and then how far it is; no control codes', async () => {
    const { log, text } = recorded('text')
    await drive(new Progress(log))
    expect(text()).toBe(
      [
        'Fetching 3 images, 100 MB',
        '  present  docker.io/library/cached:1  1.0 kB',
        '… Fetching  1/3 images  50 MB of 100 MB  2.0 MB/s  25 s left',
        'Warning: odd\\u{1b}[2J\\n',
        'Retrying in 2 s: busy\\u{202e}',
        '… Fetching  1/3 images  50 MB of 100 MB  0 B/s',
        '  fetched  registry.example/a\\u{1b}[2J:1  50 MB',
        'Tagging 1 image',
        '',
      ].join('\n'),
    )
  })

  it('the same as JSON lines, blobs too', async () => {
    const { log, text } = recorded('json')
    await drive(new Progress(log))
    for (const harmful of ['\u001b', '\u202e']) expect(text()).not.toContain(harmful)
    const lines = logLines(text())
    expect(lines.map((line) => line.event)).toEqual([
      'phase',
      'item',
      'progress',
      'warning',
      'retry',
      'progress',
      'item',
      'item',
      'phase',
      'item',
    ])
    expect(lines[2]).toMatchObject({
      phase: 'fetch',
      images: { done: 1, total: 3 },
      blobs: { done: 0, total: 4 },
      bytes: { done: 50 * MB, total: 100 * MB },
      bytesPerSecond: 2 * MB,
      secondsLeft: 25,
    })
    expect(lines[3]?.message).toBe('odd\u001b[2J\n')
    expect(lines[6]).toMatchObject({ kind: 'blob', digest: DIGEST })
    expect(lines[7]).toMatchObject({ kind: 'image', name: 'registry.example/a\u001b[2J:1', size: 50 * MB })
  })

  it('that a registry is busy is told once a minute, and when it asks for more patience', () => {
    const { log, text } = recorded('text')
    const { onEvent } = new Progress(log)
    const held = (seconds: number, delayMs: number): void =>
      onEvent({
        type: 'registry',
        notice: {
          type: 'held',
          registry: 'r.example',
          status: 429,
          reason: 'r.example is busy',
          delayMs,
          until: seconds * 1000 + delayMs,
        },
      })
    for (let second = 0; second < 120; second++) held(second, 1000 + second)
    held(121, 30_000)
    expect(text().match(/waiting \d+ s/g)).toEqual(['waiting 1 s', 'waiting 1 s', 'waiting 30 s'])
  })

  it('--quiet leaves the warnings', async () => {
    const { log, text } = recorded('text', true)
    await drive(new Progress(log))
    expect(text()).toBe('Warning: odd\\u{1b}[2J\\n\n')
  })
})

const DIGEST = `sha256:${'a'.repeat(64)}` as const

/** A run of one minute, with everything in it that can be told. */
async function drive(progress: Progress): Promise<void> {
  const tell = progress.onEvent
  tell({ type: 'phase', phase: 'fetch', items: 4, bytes: 100 * MB, images: 3 })
  tell({ type: 'image', name: 'docker.io/library/cached:1', bytes: 1000, outcome: 'present' })
  tell({ type: 'progress', bytes: 20 * MB })
  vi.advanceTimersByTime(6000)
  tell({ type: 'progress', bytes: 30 * MB })
  vi.advanceTimersByTime(9000)
  tell({ type: 'warning', message: 'odd\u001b[2J\n' })
  tell({
    type: 'registry',
    notice: {
      type: 'retry',
      registry: 'registry.example',
      operation: 'fetch a blob',
      attempt: 1,
      reason: 'busy\u202e',
      delayMs: 2000,
    },
  })
  vi.advanceTimersByTime(15_000)
  tell({ type: 'item', name: 'aaaa of a', bytes: 5, outcome: 'fetched', digest: DIGEST })
  tell({ type: 'image', name: 'registry.example/a\u001b[2J:1', bytes: 50 * MB, outcome: 'fetched' })
  tell({ type: 'phase', phase: 'check', items: 0, bytes: 0, images: 0 })
  tell({ type: 'phase', phase: 'tag', items: 1, bytes: 0 })
  tell({ type: 'item', name: 'registry.internal/a:1', bytes: 0, outcome: 'tagged' })
  progress.stop()
  tell({ type: 'warning', message: 'after the end' })
  vi.advanceTimersByTime(60_000)
}

function begun({ bytes }: { bytes: number }): ProgressState {
  const state = new ProgressState()
  state.apply({ type: 'phase', phase: 'fetch', items: 9, bytes, images: 3 }, 0)
  return state
}

function done(): fc.Arbitrary<{ done: number; total: number }> {
  return fc
    .tuple(fc.maxSafeNat(), fc.maxSafeNat())
    .map(([a, b]) => ({ done: Math.min(a, b), total: Math.max(a, b) }))
}

function recorded(logFormat: 'text' | 'json', isQuiet = false): { log: Log; text: () => string } {
  let written = ''
  const stream = new Writable({
    write(chunk: Buffer, _encoding, next) {
      written += chunk.toString()
      next()
    },
  })
  return { log: new Log(stream, { isQuiet, logFormat }), text: () => written }
}
