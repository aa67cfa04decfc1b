import { copyFile, open, readdir, readFile, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import pLimit from 'p-limit'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeEnd } from './parts/airgap.ts'
import { BUSYBOX, CHART, DOCKER_LIST, SCHEMA2 } from './parts/images.ts'
import { tagsOf } from './parts/readers.ts'
import type { Registry } from './parts/registries.ts'
import { entriesOf, type RawEntry } from './parts/tar-edit.ts'
import { withParts } from './parts/tools.ts'
import { openWorld, WORLD_PARTS, type World } from './parts/world.ts'

/** Fields of a tar header, by the offset of a byte in each. */
const HEADER_BYTES = [
  0, 60, 99, 104, 110, 120, 130, 140, 150, 155, 156, 157, 200, 257, 264, 265, 300, 330, 340, 345, 499, 511,
]

/** A byte to change. */
interface Spot {
  what: string
  offset: number
}

withParts('a byte changed anywhere', WORLD_PARTS, () => {
  let world: World
  let bundle: string
  let bytes: Buffer
  let spots: Spot[]
  let target: Registry

  beforeAll(async () => {
    world = await openWorld()
    const index = await world.airgap.json<{ images: { digest: string }[] }>(
      'resolve',
      BUSYBOX,
      '--resolve-from',
      'mirror',
      ...world.reading(),
    )
    // A pinned index is delivered whole; of the list one platform is, and the list itself is kept as evidence.
    const images = [`${BUSYBOX}@${index.images[0]?.digest}`, DOCKER_LIST, SCHEMA2, CHART]
    bundle = (await world.pack('whole', images, '--platform', 'linux/amd64')).bundle
    bytes = await readFile(bundle)
    spots = spotsIn(entriesOf(bytes), bytes.length)
    target = await world.target()
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  test('is a sample in every kind of entry', () => {
    const names = entriesOf(bytes).map(({ name }) => name)
    const fixed = [
      'SHA256SUMS',
      'SHA256SUMS.sigstore.json',
      'SHA256SUMS.sig',
      'airgap.json',
      'oci-layout',
      'index.json',
      'manifest.json',
    ]
    expect(names.slice(0, fixed.length)).toEqual(fixed)
    // Two indexes; five manifests; four configurations; two layers of images, one of the chart, with their sources.
    expect(names.length).toBeGreaterThanOrEqual(fixed.length + 12)
    expect(new Set(spots.map(({ offset }) => offset)).size).toBe(spots.length)
  })

  test('makes verify exit 3', async () => {
    const accepted = await eachSpot(async (file) => {
      const result = await world.airgap.attempt('verify', file, '--key', world.publicKey, '--json')
      return result.code === 3 ? undefined : describeEnd(result)
    })
    expect(accepted).toEqual([])
  })

  test('makes push exit 3, and the target has received no tag', async () => {
    const accepted = await eachSpot((file) => failedPush(file))
    expect(accepted).toEqual([])
    expect(await tagsOf(world, target)).toEqual([])
    expect((await readdir(world.folder)).filter((name) => name.includes('receipt'))).toEqual([])
  })

  test('makes push exit 3 also where the target has everything already', async () => {
    await world.airgap.run(
      'push',
      bundle,
      target.host,
      '--key',
      world.publicKey,
      '--receipt',
      'good',
      ...world.writing,
    )
    const before = await tagsOf(world, target)
    expect(before).toHaveLength(4)
    const layers = spots.filter(({ what }) => what.startsWith('content') && what.includes('blobs/'))
    expect(await eachSpot((file) => failedPush(file, ''), layers)).toEqual([])
    expect(await tagsOf(world, target)).toEqual(before)
  })

  test('and so do a byte less and a byte more', async () => {
    for (const [name, changed] of [
      ['shorter.tar', bytes.subarray(0, -1)],
      ['longer.tar', Buffer.concat([bytes, Buffer.alloc(1)])],
      ['half.tar', bytes.subarray(0, Math.floor(bytes.length / 2))],
    ] as const) {
      await writeFile(world.path(name), changed)
      const result = await world.airgap.attempt('verify', world.path(name), '--key', world.publicKey)
      expect(result.code, `${name}\n${describeEnd(result)}`).toBe(3)
    }
  })

  /** @returns what went wrong when the push did not fail as it has to. */
  async function failedPush(file: string, path = '/altered'): Promise<string | undefined> {
    const receipt = `${file}.receipt`
    const result = await world.airgap.attempt(
      'push',
      file,
      `${target.host}${path}`,
      '--key',
      world.publicKey,
      '--receipt',
      receipt,
      '--json',
      ...world.writing,
    )
    return result.code === 3 ? undefined : describeEnd(result)
  }

  /** Changes one byte after the other, in as many copies as there are processors. @returns the faults found. */
  async function eachSpot(
    check: (file: string) => Promise<string | undefined>,
    chosen: readonly Spot[] = spots,
  ): Promise<string[]> {
    const workers = availableParallelism()
    const copies = Array.from({ length: workers }, (_, i) => world.path(`copy-${i}.tar`))
    await Promise.all(copies.map((copy) => copyFile(bundle, copy)))
    const limit = pLimit(workers)
    const faults = await limit.map(chosen, async ({ what, offset }) => {
      const copy = copies.pop()
      if (copy === undefined) throw new Error('no copy is free')
      try {
        await poke(copy, offset, (bytes[offset] ?? 0) ^ 1)
        const fault = await check(copy)
        await poke(copy, offset, bytes[offset] ?? 0)
        return fault === undefined ? [] : [`${what} (byte ${offset}): ${fault}`]
      } finally {
        copies.push(copy)
      }
    })
    return faults.flat()
  }
})

async function poke(file: string, offset: number, value: number): Promise<void> {
  const handle = await open(file, 'r+')
  await handle.write(Buffer.of(value), 0, 1, offset)
  await handle.close()
}

/** Three bytes of each header, in turn another three; the content's first, middle and last; padding; the end. */
function spotsIn(entries: readonly RawEntry[], size: number): Spot[] {
  const spots: Spot[] = []
  let turn = 0
  for (const { name, size: length, start, contentStart, end } of entries) {
    for (let i = 0; i < 3; i += 1) {
      const at = HEADER_BYTES[turn % HEADER_BYTES.length] ?? 0
      turn += 1
      spots.push({ what: `header byte ${at} of ${name}`, offset: start + at })
    }
    const last = contentStart + length - 1
    for (const offset of new Set([contentStart, contentStart + Math.floor(length / 2), last])) {
      spots.push({ what: `content of ${name}`, offset })
    }
    if (last + 1 < end) spots.push({ what: `padding of ${name}`, offset: end - 1 })
    if (last + 1 < end - 1) spots.push({ what: `padding of ${name}`, offset: last + 1 })
  }
  const endsAt = entries.at(-1)?.end ?? 0
  for (const offset of [endsAt, endsAt + 600, size - 1]) spots.push({ what: 'the end', offset })
  return spots
}
