import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AirgapError, verify } from '../../src/index.ts'
import type { EmbeddedRegistry } from '../support/registry/registry.ts'
import { signer } from '../support/build-bundle.ts'
import { scratch } from '../support/airgap.ts'
import {
  actAt,
  enginesIn,
  outcomeOf,
  placesOf,
  SMALL,
  startSource,
  type Engine,
  type Place,
} from './engines.ts'
import { takeUnfinished, watch } from '../pack/resume/leftovers.ts'

interface Shop extends AsyncDisposable {
  source: EmbeddedRegistry
  folder: string
  output: string
  engine(name: string): Engine
}

async function openShop(size?: number): Promise<Shop> {
  const source = await startSource(size)
  const folder = await scratch()
  const { engines, output, close } = await enginesIn(folder.path, source)
  return {
    source,
    folder: folder.path,
    output,
    engine: (name) => engines.find((one) => one.name === name)!,
    async [Symbol.asyncDispose]() {
      await close()
      await source.close()
      await folder[Symbol.asyncDispose]()
    },
  }
}

let small: Shop
/** Where threads are at work. */
let large: Shop

beforeAll(async () => {
  small = await openShop(SMALL)
  large = await openShop()
})

afterAll(async () => {
  await small[Symbol.asyncDispose]()
  await large[Symbol.asyncDispose]()
})

/** Whatever a caller may give as a reason, and a listener may throw. */
const REASONS: unknown[] = [
  new Error('the user has closed the window'),
  new AirgapError('INTERRUPTED', 'interrupted (SIGINT)'),
  new TypeError('a listener with a mistake in it'),
  new DOMException('too long', 'TimeoutError'),
  'enough',
]

describe.each([
  'resolve',
  'pack',
  'pack with reuse',
  'pack to a stream',
  'a planned pack',
  'verify',
  'push',
  'a planned push',
  'serve',
])('%s', (name) => {
  /** Calls a run off at each place, or throws from its listener there. */
  async function endAt(places: readonly Place[], shop: Shop): Promise<void> {
    const engine = shop.engine(name)
    for (const [i, place] of places.entries()) {
      await engine.prepare()
      const left = watch(shop.folder)
      const controller = new AbortController()
      const reason = REASONS[i % REASONS.length]
      const { onEvent, afterwards, hasActed } = actAt(place, () => {
        if (i % 2 === 0) controller.abort(reason)
        else throw reason as Error
      })
      const outcome = await outcomeOf(engine.run({ signal: controller.signal, onEvent }))
      expect(hasActed(), `${place.label} ${place.count}`).toBe(true)
      expect(outcome, `${place.label} ${place.count}`).toEqual({ reason })
      // A pack keeps what it has fetched.
      if (/^(?:fetch|reuse) /.test(place.label)) takeUnfinished(shop.output)
      await left.expectNothingLeft()
      expect(afterwards).toEqual([])
    }
  }

  test('called off at any kind of event, or broken by its listener there, leaves nothing', async () => {
    const places = await placesOf(small.engine(name))
    expect(places.length).toBeGreaterThan(0)
    await endAt(places, small)
  })

  test('called off while threads hash, or broken by its listener then, leaves nothing', async () => {
    const places = await placesOf(large.engine(name))
    await endAt(
      places.filter(({ label }) => label.endsWith(' progress')),
      large,
    )
  })

  test('called off at any moment, is complete or leaves nothing', async () => {
    const engine = large.engine(name)
    await engine.prepare()
    const began = performance.now()
    await engine.run({})
    const duration = performance.now() - began
    const steps = 2
    for (let i = 0; i < steps; i++) {
      await engine.prepare()
      const left = watch(large.folder)
      const controller = new AbortController()
      const events: unknown[] = []
      const timer = setTimeout(() => controller.abort(), (duration * (i + 0.5)) / steps)
      const outcome = await outcomeOf(
        engine.run({ signal: controller.signal, onEvent: (event) => events.push(event) }),
      )
      clearTimeout(timer)
      const count = events.length
      if (existsSync(`${large.output}.partial`)) {
        expect(outcome).toEqual({ reason: controller.signal.reason as unknown })
        // Whenever it was, the same call goes on from there.
        await engine.run({})
        await verify(large.output, { keys: [signer.publicKey] })
        await rm(large.output)
      } else if (existsSync(large.output)) {
        expect(outcome).toHaveProperty('value')
        await verify(large.output, { keys: [signer.publicKey] })
        await rm(large.output)
      } else if ('reason' in outcome) {
        expect(outcome.reason).toBe(controller.signal.reason)
      } else {
        expect(name).not.toMatch(/^pack(?: with reuse)?$/)
      }
      await left.expectNothingLeft()
      expect(events).toHaveLength(count)
    }
  })

  test('does nothing at all for a signal that is aborted already', async () => {
    const engine = small.engine(name)
    await engine.prepare()
    small.source.requests.length = 0
    const left = watch(small.folder)
    const events: unknown[] = []
    const outcome = await outcomeOf(
      engine.run({ signal: AbortSignal.abort('no'), onEvent: (event) => events.push(event) }),
    )
    expect(outcome).toEqual({ reason: 'no' })
    expect(events).toEqual([])
    expect(small.source.requests).toEqual([])
    await left.expectNothingLeft()
  })
})
