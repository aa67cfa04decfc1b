import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AirgapError, verify } from '../../src/index.ts'
import type { EmbeddedRegistry } from '../support/registry/registry.ts'
import { signer } from '../support/build-bundle.ts'
import { scratch } from '../support/airgap.ts'
import { actAt, enginesIn, outcomeOf, placesOf, startSource, type Engine } from './engines.ts'
import { takeUnfinished, watch } from '../pack/resume/leftovers.ts'

let source: EmbeddedRegistry
let folder: Awaited<ReturnType<typeof scratch>>
let shop: Awaited<ReturnType<typeof enginesIn>>

beforeAll(async () => {
  source = await startSource()
  folder = await scratch()
  shop = await enginesIn(folder.path, source)
})

afterAll(async () => {
  await shop.close()
  await source.close()
  await folder[Symbol.asyncDispose]()
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
  let engine: Engine
  beforeAll(() => {
    engine = shop.engines.find((one) => one.name === name)!
  })

  test('called off at any kind of event, or broken by its listener there, leaves nothing', async () => {
    const places = await placesOf(engine)
    expect(places.length).toBeGreaterThan(0)
    for (const [i, place] of places.entries()) {
      await engine.prepare()
      const left = watch(folder.path)
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
  })

  test('called off at any moment, is complete or leaves nothing', async () => {
    await engine.prepare()
    const began = performance.now()
    await engine.run({})
    const duration = performance.now() - began
    const steps = 2
    for (let i = 0; i < steps; i++) {
      await engine.prepare()
      const left = watch(folder.path)
      const controller = new AbortController()
      const events: unknown[] = []
      const timer = setTimeout(() => controller.abort(), (duration * (i + 0.5)) / steps)
      const outcome = await outcomeOf(
        engine.run({ signal: controller.signal, onEvent: (event) => events.push(event) }),
      )
      clearTimeout(timer)
      const count = events.length
      if (existsSync(`${shop.output}.partial`)) {
        expect(outcome).toEqual({ reason: controller.signal.reason as unknown })
        // Whenever it was, the same call goes on from there.
        await engine.run({})
        await verify(shop.output, { keys: [signer.publicKey] })
        await rm(shop.output)
      } else if (existsSync(shop.output)) {
        expect(outcome).toHaveProperty('value')
        await verify(shop.output, { keys: [signer.publicKey] })
        await rm(shop.output)
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
    await engine.prepare()
    source.requests.length = 0
    const left = watch(folder.path)
    const events: unknown[] = []
    const outcome = await outcomeOf(
      engine.run({ signal: AbortSignal.abort('no'), onEvent: (event) => events.push(event) }),
    )
    expect(outcome).toEqual({ reason: 'no' })
    expect(events).toEqual([])
    expect(source.requests).toEqual([])
    await left.expectNothingLeft()
  })
})
