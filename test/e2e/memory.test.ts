import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hugeReferrers, hugeRegistry, indexOfHuge, writeHugeBundle } from '../duties/hostile.ts'

const MIB = 1024 * 1024
const RUN_JS = join(import.meta.dirname, '../../bin/run.js')
/** Tells the greatest resident size that the process has had, in KiB. */
const TELL_PEAK = `data:text/javascript,process.on('exit',()=>process.stderr.write('\\npeak '+process.resourceUsage().maxRSS))`
/** So many manifests of 8 MiB. Each takes twice of that, where it is kept. */
const HUGE = 32

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'airgap-memory-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Runs the command in a process of its own, and says how much memory that took at the most, in bytes. */
async function run(...args: string[]): Promise<{ code: number | null; stderr: string; peak: number }> {
  const child = spawn(process.execPath, ['--import', TELL_PEAK, RUN_JS, ...args], {
    cwd: folder,
    env: { PATH: process.env['PATH'], HOME: folder },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const [stderr, [code]] = await Promise.all([
    text(child.stderr),
    once(child, 'close') as Promise<[number | null]>,
  ])
  return { code, stderr, peak: Number(/\npeak (\d+)$/.exec(stderr)?.[1]) * 1024 }
}

// See test/duties/memory.test.ts for what is held to which number.
describe('documents are dropped after use', () => {
  test('a bundle of huge manifests is verified in the memory of one; an image of many is refused by name', async () => {
    const path = join(folder, 'huge.tar')
    await writeHugeBundle(path, HUGE)
    const { code, stderr, peak } = await run('verify', path, '--integrity-only', '-q')
    expect({ code, stderr }).toMatchObject({ code: 3, stderr: expect.stringContaining('1 problem') })
    expect(stderr).toContain(
      'example.test/huge:all: its manifests and indexes have more than 128 MiB together, which is the limit for one image',
    )
    // 250 MB; 650 MB where they are kept.
    expect(peak).toBeLessThan(430 * MIB)
    await rm(path)
  })

  test('an index of 250 huge manifests is not read to its end', async () => {
    using registry = await hugeRegistry(indexOfHuge(250, 20))
    const image = `${registry.host}/app:1`
    const { code, stderr, peak } = await run('pack', image, '-o', 'index.tar', '--no-sign', '-q')
    expect(code).toBe(4)
    expect(stderr).toContain(
      `Error: ${image}: its manifests and indexes have more than 128 MiB together, which is the limit for one image`,
    )
    expect(stderr).toContain('To leave out an image: --exclude')
    // 320 MB; 4.3 GB where all are kept.
    expect(peak).toBeLessThan(500 * MIB)
  })

  test('a list of referrers of 200 pages of 8 MiB is not read to its end', async () => {
    using registry = await hugeRegistry(hugeReferrers(200))
    const { code, stderr, peak } = await run(
      'pack',
      `${registry.host}/app:1`,
      '-o',
      'list.tar',
      '--no-sign',
      '-q',
    )
    expect(code).toBe(4)
    expect(stderr).toContain(`${registry.host} lists more than 32 MiB of them`)
    expect(stderr).toContain('--referrers none')
    // 170 MB; 1.8 GB where every page is kept.
    expect(peak).toBeLessThan(450 * MIB)
  })
})
