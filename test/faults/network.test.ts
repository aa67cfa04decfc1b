import { readFile, rm } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { describeEnd, type LockedImage } from '../e2e/parts/airgap.ts'
import { withParts } from '../e2e/parts/tools.ts'
import { expectComplete } from './complete.ts'
import type { Fault, FaultProxy } from './fault-proxy.ts'
import { randomFrom, SEEDS } from './seeds.ts'
import { FAULT_PARTS, openWorld, pushing, type World } from './world.ts'

const KiB = 1024
const MiB = 1024 ** 2

/** A line that goes wrong in one way, now and then: by the seed, not by the time. */
const LINES: Record<string, (random: () => number) => Fault | undefined> = {
  'cuts connections': (random) => (random() < 0.3 ? { kind: 'cut', after: random() * 4 * MiB } : undefined),
  'resets connections': (random) =>
    random() < 0.3 ? { kind: 'reset', after: random() * 4 * MiB } : undefined,
  'falls silent': (random) => (random() < 0.1 ? { kind: 'stall', after: random() * MiB } : undefined),
  'is slow': (random) =>
    random() < 0.5 ? { kind: 'throttle', rate: 8 * MiB + random() * 32 * MiB } : undefined,
  'answers 503 now and then': (random) =>
    random() < 0.2 ? { kind: 'status', status: 503, headers: { 'retry-after': '0' } } : undefined,
  'answers 500 now and then': (random) => (random() < 0.15 ? { kind: 'status', status: 500 } : undefined),
  'answers 429 now and then': (random) =>
    random() < 0.05 ? { kind: 'status', status: 429, headers: { 'retry-after': '1' } } : undefined,
  'does all of it': (random) => {
    const dice = random()
    if (dice < 0.05) return { kind: 'status', status: 502 }
    if (dice < 0.1) return { kind: 'status', status: 429, headers: { 'retry-after': '1' } }
    if (dice < 0.2) return { kind: 'reset', after: random() * MiB }
    if (dice < 0.3) return { kind: 'cut', after: random() * 300 * KiB }
    if (dice < 0.33) return { kind: 'stall', after: random() * 300 * KiB }
    return undefined
  },
}

/** A shortened run takes one of the two. */
const LINE_SEEDS = SEEDS < 200 ? [1] : [1, 2]

/** A line may be so bad that a run gives up; nothing is lost by that, and the same command goes on. */
const MOST_RUNS = 6

withParts('a bad line', FAULT_PARTS, () => {
  let world: World
  let reference: Buffer
  let images: LockedImage[]

  beforeAll(async () => {
    world = await openWorld()
    await world.airgap.run('resolve', ...world.references, '-o', 'lock.json')
    await world.airgap.run(
      'pack',
      '--lock',
      'lock.json',
      '--no-sign',
      '--name',
      'same',
      '-o',
      'reference.tar',
    )
    reference = await readFile(world.path('reference.tar'))
    const lock = JSON.parse(await readFile(world.path('lock.json'), 'utf8')) as { images: LockedImage[] }
    images = lock.images
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  /** Runs a command again until it is through; each failure has to be one that says that it can be. */
  async function throughAtLast(proxy: FaultProxy, args: string[]): Promise<void> {
    for (let runs = 1; ; runs += 1) {
      const result = await world.airgap.attempt(...args, '--timeout', '2s')
      if (result.code === 0) return
      expect([4, 6], describeEnd(result)).toContain(result.code)
      expect(runs, describeEnd(result)).toBeLessThan(MOST_RUNS)
      expect(proxy.passed.length).toBeGreaterThan(0)
    }
  }

  describe.each(Object.entries(LINES))('that %s', (_, faultOf) => {
    test.for(LINE_SEEDS)('pack, seed %i', async (seed) => {
      const random = randomFrom(seed)
      world.source.forget()
      world.source.faultOf = () => faultOf(random)
      try {
        await throughAtLast(world.source, world.packing('line.tar'))
      } finally {
        world.source.faultOf = () => undefined
      }
      expect(reference.equals(await readFile(world.path('line.tar')))).toBe(true)
      await rm(world.path('line.tar'))
    })

    test.for(LINE_SEEDS)('push, seed %i', async (seed) => {
      const random = randomFrom(seed)
      await using target = await world.target()
      target.proxy.faultOf = () => faultOf(random)
      await throughAtLast(target.proxy, pushing('reference.tar', target, 'line'))
      await expectComplete(target.direct(), 'line', images, 'all')
    })
  })

  test('pack goes on over a restart of the registry', async () => {
    await using target = await world.target()
    await world.airgap.run(...pushing('reference.tar', target, 'r'))
    const references = images.map(({ source }) => source.replace(world.source.host, `${target.proxy.host}/r`))
    target.proxy.forget()
    const { ended } = world.airgap.start('pack', ...references, '--no-sign', '-o', 'restart.tar')
    await target.proxy.reached(20 * MiB)
    await target.restart()
    const result = await ended
    if (result.code !== 0) {
      expect([4, 6], describeEnd(result)).toContain(result.code)
      await world.airgap.run('pack', ...references, '--no-sign', '-o', 'restart.tar')
    }
    await world.airgap.run('verify', 'restart.tar', '--integrity-only')
  })

  test('push goes on over a restart of the registry', async () => {
    await using target = await world.target()
    const args = pushing('reference.tar', target, 'r')
    const { ended } = world.airgap.start(...args)
    await target.proxy.reached(20 * MiB)
    await target.restart()
    const result = await ended
    if (result.code !== 0) {
      expect([4, 6], describeEnd(result)).toContain(result.code)
      await world.airgap.run(...args)
    }
    await expectComplete(target.direct(), 'r', images, 'all')
  })
})
