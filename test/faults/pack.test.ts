import { access, readdir, readFile, rm } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Digest } from '../../src/oci/digest.ts'
import { describeEnd } from '../e2e/parts/airgap.ts'
import { withParts } from '../e2e/parts/tools.ts'
import { randomFrom, SEEDS, summaryOf } from './seeds.ts'
import { downloadedBlobs, FAULT_PARTS, openWorld, type World } from './world.ts'

/** What of one blob may be under way: in memory, and in the buffers of the kernel. Bytes. */
const IN_FLIGHT = 10 * 1024 ** 2

withParts('pack, killed at random points', FAULT_PARTS, () => {
  let world: World
  let reference: Buffer
  let blobBytes: number
  let sizes: Map<Digest, number>
  const again: number[] = []

  beforeAll(async () => {
    world = await openWorld()
    await world.airgap.run(...world.packing('reference.tar'))
    reference = await readFile(world.path('reference.tar'))
    sizes = downloadedBlobs(world.source)
    blobBytes = sum(sizes.values())
  })
  afterAll(async () => {
    process.stdout.write(`\npack: fetched again after kills: ${summaryOf(again)}\n`)
    await world?.[Symbol.asyncDispose]()
  })

  test.for(Array.from({ length: SEEDS }, (_, i) => i + 1))('seed %i', async (seed) => {
    const random = randomFrom(seed)
    const output = `killed-${seed}.tar`
    world.source.forget()
    let wasStarted = false
    let kills = 0
    for (const planned = 1 + Math.floor(random() * 3); kills < planned; kills += 1) {
      const bytes = passedBytes()
      const manifests = manifestRequests()
      const { child, ended } = world.airgap.start(...world.packing(output))
      // Mostly in the middle of the bytes; now and then in the moments behind the last one.
      const point = bytes + random() * 1.1 * Math.max(blobBytes - bytes, 1)
      await Promise.race([world.source.reached(point), ended])
      await delay(random() * 40)
      child.kill('SIGKILL')
      await ended
      if (wasStarted) expect(manifestRequests(), 'manifests are not asked for again').toBe(manifests)
      wasStarted = await exists(world.path(`${output}.partial.journal`))
      if (await exists(world.path(output))) break
    }
    if (!(await exists(world.path(output)))) {
      const manifests = manifestRequests()
      const resumed = await world.airgap.attempt(...world.packing(output))
      expect(resumed.code, describeEnd(resumed)).toBe(0)
      if (wasStarted) expect(manifestRequests(), 'manifests are not asked for again').toBe(manifests)
    }
    expect(reference.equals(await readFile(world.path(output))), 'the bundle is the same').toBe(true)
    const fetched = downloadedBlobs(world.source)
    again.push(sum(fetched.values()) - blobBytes)
    for (const [digest, bytes] of fetched) {
      expect(bytes, digest).toBeLessThanOrEqual((sizes.get(digest) ?? 0) + Math.max(kills, 1) * IN_FLIGHT)
    }
    await rm(world.path(output))
    // A kill between the file's name and the end of the run leaves a journal, which the next run clears away.
    const left = (await readdir(world.folder)).filter((name) => name.startsWith(output))
    expect(left.filter((name) => !name.endsWith('.journal'))).toEqual([])
  })

  const passedBytes = (): number => sum(downloadedBlobs(world.source).values())
  const manifestRequests = (): number =>
    world.source.passed.filter(({ path }) => path.includes('/manifests/')).length
})

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

function sum(numbers: Iterable<number>): number {
  let all = 0
  for (const each of numbers) all += each
  return all
}
