import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Airgap, describeEnd } from './parts/airgap.ts'
import { CHART, IMAGES, LARGE } from './parts/images.ts'
import { attempt, ended, poll, start, type Ended } from './parts/processes.ts'
import { startProxy } from './parts/proxy.ts'
import { withParts } from './parts/tools.ts'
import { openWorld, WORLD_PARTS, type World } from './parts/world.ts'

const RUN_JS = join(import.meta.dirname, '../../bin/run.js')
const MIB = 1024 * 1024

withParts('pack', WORLD_PARTS, () => {
  let world: World
  let lock: string

  beforeAll(async () => {
    world = await openWorld()
    lock = (await world.pack('reference', [...IMAGES, CHART, LARGE])).lockFile
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  describe('of one lock', () => {
    let fixed: Airgap
    const flags = (): string[] => ['pack', '--lock', lock, '--no-sign', '--name', 'same', ...world.reading()]

    beforeAll(async () => {
      fixed = new Airgap(world.folder, { SOURCE_DATE_EPOCH: '1800000000' })
      await fixed.run(...flags(), '-o', 'one-at-a-time.tar', '--concurrency', '1')
    })

    test('gives equal bytes at different concurrency', async () => {
      await fixed.run(...flags(), '-o', 'many.tar', '--concurrency', '16')
      const [one, many] = await Promise.all(
        ['one-at-a-time.tar', 'many.tar'].map((name) => readFile(world.path(name))),
      )
      expect(one?.length).toBeGreaterThan(25 * MIB)
      expect(many?.equals(one ?? Buffer.alloc(0))).toBe(true)
    })

    test('gives equal bytes at different times up to what the time says', async () => {
      const later = new Airgap(world.folder, { SOURCE_DATE_EPOCH: '1800000001' })
      await later.run(...flags(), '-o', 'later.tar')
      const [one, other] = await Promise.all(
        ['one-at-a-time.tar', 'later.tar'].map((name) => readFile(world.path(name))),
      )
      expect(other?.length).toBe(one?.length)
      expect(other?.equals(one ?? Buffer.alloc(0))).toBe(false)
    })

    test('gives a pipe the same bytes as a file', async () => {
      const script = 'set -o pipefail; out=$1; shift; "$@" -o - | cat > "$out"'
      const result = await attempt(
        'bash',
        ['-c', script, 'bash', world.path('piped.tar'), process.execPath, RUN_JS, ...flags()],
        fixed.options,
      )
      expect(result.code, describeEnd(result)).toBe(0)
      const [one, piped] = await Promise.all(
        ['one-at-a-time.tar', 'piped.tar'].map((name) => readFile(world.path(name))),
      )
      expect(piped?.equals(one ?? Buffer.alloc(0))).toBe(true)
    })

    test('to a pipe whose reader goes away ends with an error and no stack trace', async () => {
      const script = 'out=$1; shift; "$@" -o - | head -c 100000 > "$out"; exit "${PIPESTATUS[0]}"'
      const result = await attempt(
        'bash',
        ['-c', script, 'bash', world.path('cut.tar'), process.execPath, RUN_JS, ...flags()],
        fixed.options,
      )
      expect(result.code, describeEnd(result)).toBe(7)
      expect(result.stderr).toContain('standard output')
      expect(result.stderr).not.toContain('    at ')
    })
  })

  describe('that is stopped in the middle', () => {
    let output: string
    let count = 0
    const args = (host: string): string[] => [
      'pack',
      LARGE,
      '-o',
      output,
      '--key',
      world.privateKey,
      '--resolve-from',
      'mirror',
      ...world.reading(host),
    ]
    const folder = (): string => join(output, '..')

    beforeEach(async () => {
      count += 1
      output = join(world.path(`stopped-${count}`), 'out.tar')
      await mkdir(folder())
    })

    test('by SIGKILL leaves no file under the name, and the same command goes on', async () => {
      await using proxy = await startProxy(world.source.host)
      await world.allow(proxy.host)
      const held = proxy.hold(8 * MIB)
      const packing = world.airgap.start(...args(proxy.host))
      await reached(held, packing.ended)
      await noted(folder())
      packing.child.kill('SIGKILL')
      expect((await packing.ended).signal).toBe('SIGKILL')
      expect(await readdir(folder())).not.toContain('out.tar')

      proxy.release()
      const stdout = await world.airgap.run(...args(proxy.host))
      expect(stdout).toMatch(/resumed +\d/)
      expect(await readdir(folder())).toEqual(['out.tar'])
      await world.airgap.run('verify', output, '--key', world.publicKey)
    })

    test('by SIGKILL again and again comes to the same bytes', async () => {
      await using proxy = await startProxy(world.source.host)
      await world.allow(proxy.host)
      const fixed = new Airgap(world.folder, { SOURCE_DATE_EPOCH: '1800000000' })
      const again = ['pack', '--lock', lock, '--no-sign', '--name', 'same', '-o', output]
      const reference = join(folder(), 'reference.tar')
      await fixed.run(
        'pack',
        '--lock',
        lock,
        '--no-sign',
        '--name',
        'same',
        '-o',
        reference,
        ...world.reading(),
      )
      for (const part of [0, 2, 3, 5, 6]) {
        const held = proxy.hold(part * MIB + 1)
        const packing = fixed.start(...again, ...world.reading(proxy.host))
        await reached(held, packing.ended)
        packing.child.kill('SIGKILL')
        await packing.ended
        proxy.release()
      }
      await fixed.run(...again, ...world.reading(proxy.host))
      const [one, other] = await Promise.all([reference, output].map((file) => readFile(file)))
      expect(other?.equals(one ?? Buffer.alloc(0))).toBe(true)
      expect((await readdir(folder())).toSorted()).toEqual(['out.tar', 'reference.tar'])
    })

    test('by SIGTERM keeps what has come and says so', async () => {
      await using proxy = await startProxy(world.source.host)
      await world.allow(proxy.host)
      const held = proxy.hold(8 * MIB)
      const packing = world.airgap.start(...args(proxy.host))
      await reached(held, packing.ended)
      await noted(folder())
      packing.child.kill('SIGTERM')
      const result = await packing.ended
      expect(result.code, describeEnd(result)).toBe(6)
      expect(result.stderr).toContain('interrupted (SIGTERM)')
      expect(result.stderr).toContain(`${output}.partial; the same command resumes from there.`)
      expect((await readdir(folder())).toSorted()).toEqual(['out.tar.partial', 'out.tar.partial.journal'])
    })

    test('by the registry going away keeps what has come, which another mirror completes', async () => {
      const proxy = await startProxy(world.source.host)
      try {
        await world.allow(proxy.host)
        // More than any blob has: with one at a time, one is complete then, whichever came first.
        const held = proxy.hold(25 * MIB)
        const packing = world.airgap.start(
          'pack',
          '--lock',
          lock,
          '-o',
          output,
          '--no-sign',
          '--concurrency',
          '1',
          ...world.reading(proxy.host),
        )
        await reached(held, packing.ended)
        await noted(folder())
        await proxy[Symbol.asyncDispose]()
        const result = await packing.ended
        expect(result.code, describeEnd(result)).toBe(6)
        expect(result.stderr).toContain(proxy.host)
        expect(result.stderr).toContain('the same command resumes from there')
        await world.airgap.run('pack', '--lock', lock, '-o', output, '--no-sign', ...world.reading())
        expect(await readdir(folder())).toEqual(['out.tar'])
      } finally {
        await proxy[Symbol.asyncDispose]()
      }
    })
  })

  withParts('onto a full disk', ['tmpfs'], () => {
    /**
     * Runs a command in a mount namespace of its own with a small file system, and prints what is on it at the end.
     * The mount goes away with the process.
     */
    const script =
      'mount -t tmpfs -o "size=$1" none "$2"; cd "$2"; shift 2; "$@" >&2; code=$?; ls -A; exit "$code"'
    const onSmallDisk = (size: string, folder: string, ...command: string[]): string[] => [
      '-m',
      'bash',
      '-c',
      script,
      'bash',
      size,
      folder,
      process.execPath,
      RUN_JS,
      ...command,
    ]
    const pack = (host: string): string[] => [
      'pack',
      LARGE,
      '-o',
      'out.tar',
      '--no-sign',
      '--json',
      '--resolve-from',
      'mirror',
      ...world.reading(host),
    ]

    test('is refused before anything is fetched, and leaves nothing', async () => {
      const folder = world.path('small')
      await mkdir(folder)
      const result = await attempt(
        'unshare',
        onSmallDisk('2m', folder, ...pack(world.source.host)),
        world.airgap.options,
      )
      expect(result.code, describeEnd(result)).toBe(7)
      expect(result.stderr).toContain('DISK_FULL')
      expect(result.stderr).toContain('missing')
      expect(result.stdout).toBe('')
    })

    test('that fills up in the middle ends with 7 and keeps what has come', async () => {
      const folder = world.path('filling')
      await mkdir(folder)
      await using proxy = await startProxy(world.source.host)
      await world.allow(proxy.host)
      const held = proxy.hold(8 * MIB)
      const child = start('unshare', onSmallDisk('40m', folder, ...pack(proxy.host)), world.airgap.options)
      const finished = ended(child)
      await reached(held, finished)
      // The same place as the process sees it.
      const inside = `/proc/${child.pid}/root${folder}`
      await noted(inside)
      await expect(writeFile(join(inside, 'filler'), Buffer.alloc(40 * MIB))).rejects.toThrow('ENOSPC')
      proxy.release()
      const result = await finished
      expect(result.code, describeEnd(result)).toBe(7)
      expect(result.stderr).toContain('DISK_FULL')
      expect(result.stderr).toContain('the same command resumes from there')
      expect(result.stdout.trim().split('\n')).toEqual([
        'filler',
        'out.tar.partial',
        'out.tar.partial.journal',
      ])
    })
  })
})

/** Waits until the journal of an unfinished bundle says that some of a layer is in its place. */
async function noted(folder: string): Promise<void> {
  await poll('a part of a layer in its place', async () => {
    const journal = await readFile(join(folder, 'out.tar.partial.journal'), 'latin1').catch(() => '')
    return journal.includes('"written"') ? true : undefined
  })
}

/** Waits until a download is held; one that ends before is a failure. */
async function reached(held: Promise<void>, end: Promise<Ended>): Promise<void> {
  const early = end.then((result) => {
    throw new Error(`it was over before it could be stopped: ${describeEnd(result)}`)
  })
  await Promise.race([held, early])
  // What it ends with later is looked at by the test itself.
  early.catch(() => {})
}
