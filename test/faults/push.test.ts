import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeEnd, type LockedImage } from '../e2e/parts/airgap.ts'
import { withParts } from '../e2e/parts/tools.ts'
import { expectComplete } from './complete.ts'
import { randomFrom, SEEDS, summaryOf } from './seeds.ts'
import { FAULT_PARTS, openWorld, pushing, uploadedBytes, type Target, type World } from './world.ts'

/** What one push leaves in the store is small; what a kill leaves of an upload is not, and nobody removes it. */
const PUSHES_PER_TARGET = 20

withParts('push, killed at random points', FAULT_PARTS, () => {
  let world: World
  let images: LockedImage[]
  let target: Target | undefined
  let blobBytes: number
  const again: number[] = []

  beforeAll(async () => {
    world = await openWorld()
    await world.airgap.run('resolve', ...world.references, '-o', 'lock.json')
    await world.airgap.run('pack', '--lock', 'lock.json', '--no-sign', '-o', 'bundle.tar')
    const lock = JSON.parse(await readFile(world.path('lock.json'), 'utf8')) as { images: LockedImage[] }
    images = lock.images
    await using clean = await world.target()
    await world.airgap.run(...pushing('bundle.tar', clean, 'clean'))
    blobBytes = uploadedBytes(clean.proxy)
    await expectComplete(clean.direct(), 'clean', images, 'all')
  })
  afterAll(async () => {
    process.stdout.write(`\npush: sent again after kills: ${summaryOf(again)}\n`)
    await target?.[Symbol.asyncDispose]()
    await world?.[Symbol.asyncDispose]()
  })

  test.for(Array.from({ length: SEEDS }, (_, i) => i + 1))('seed %i', async (seed) => {
    if (!target || seed % PUSHES_PER_TARGET === 0) {
      await target?.[Symbol.asyncDispose]()
      target = await world.target()
    }
    const { proxy, direct } = target
    const random = randomFrom(seed)
    const prefix = `seed-${seed}`
    proxy.forget()
    for (let left = 1 + Math.floor(random() * 3); left > 0; left -= 1) {
      const done = uploadedBytes(proxy)
      const { child, ended } = world.airgap.start(...pushing('bundle.tar', target, prefix))
      await Promise.race([proxy.reached(done + random() * 1.1 * Math.max(blobBytes - done, 1)), ended])
      // Manifests and tags follow the last byte.
      await delay(random() * 60)
      child.kill('SIGKILL')
      await ended
      await expectComplete(direct(), prefix, images, 'what has a tag')
    }
    const resumed = await world.airgap.attempt(...pushing('bundle.tar', target, prefix))
    expect(resumed.code, describeEnd(resumed)).toBe(0)
    await expectComplete(direct(), prefix, images, 'all')
    again.push(Math.max(0, uploadedBytes(proxy) - blobBytes))
  })
})
