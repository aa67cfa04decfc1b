import { mkdir, open, readdir, readFile, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeEnd } from '../e2e/parts/airgap.ts'
import { run } from '../e2e/parts/processes.ts'
import { withParts } from '../e2e/parts/tools.ts'
import { downloadedBlobs, FAULT_PARTS, openWorld, type World } from './world.ts'

const MiB = 1024 ** 2

withParts('a disk that gets full', [...FAULT_PARTS, 'tmpfs'], () => {
  let world: World
  let disk: string
  let reference: Buffer

  beforeAll(async () => {
    world = await openWorld()
    disk = world.path('disk')
    await mkdir(disk)
    await run('mount', ['-t', 'tmpfs', '-o', 'size=96m', 'none', disk])
    await world.airgap.run(...world.packing('reference.tar'))
    reference = await readFile(world.path('reference.tar'))
  })
  afterAll(async () => {
    await run('umount', [disk])
    await world?.[Symbol.asyncDispose]()
  })

  test('too small from the start: nothing is fetched, and nothing is left', async () => {
    await fill(70)
    world.source.forget()
    const result = await world.airgap.attempt(...world.packing(join(disk, 'b.tar')))
    expect(result.code, describeEnd(result)).toBe(7)
    expect(result.stderr).toMatch(/\d+ bytes free|are missing|is missing/)
    // Configs are read for the plan.
    for (const bytes of downloadedBlobs(world.source).values()) expect(bytes).toBeLessThan(64 * 1024)
    expect(await readdir(disk)).toEqual(['filler'])
    await rm(join(disk, 'filler'))
  })

  test('full in the middle: what is there stays, and is taken up when there is room again', async () => {
    const output = join(disk, 'b.tar')
    world.source.forget()
    // Slow enough that the disk is full before all is there.
    world.source.faultOf = (_, { path }) =>
      path.includes('/blobs/') ? { kind: 'throttle', rate: 24 * MiB } : undefined
    const { ended } = world.airgap.start(...world.packing(output))
    await world.source.reached(16 * MiB)
    const { bavail, bsize } = await statfs(disk)
    await fill(Math.floor((bavail * bsize) / MiB))
    const result = await ended
    world.source.faultOf = () => undefined
    expect(result.code, describeEnd(result)).toBe(7)
    expect(result.stderr).toContain('the disk is full')
    expect(result.stderr).not.toContain('    at ')
    expect(await readdir(disk)).toContain('b.tar.partial')
    expect(await readdir(disk)).not.toContain('b.tar')
    await rm(join(disk, 'filler'))
    const before = world.source.passed.filter(({ path }) => path.includes('/manifests/')).length
    await world.airgap.run(...world.packing(output))
    expect(world.source.passed.filter(({ path }) => path.includes('/manifests/')).length).toBe(before)
    expect(reference.equals(await readFile(output))).toBe(true)
    expect(await readdir(disk)).toEqual(['b.tar'])
  })

  async function fill(mib: number): Promise<void> {
    const file = await open(join(disk, 'filler'), 'w')
    const block = Buffer.alloc(MiB)
    try {
      for (let i = 0; i < mib; i += 1) await file.write(block)
    } catch (error) {
      // Full is what it is to be.
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    } finally {
      await file.close()
    }
  }
})
