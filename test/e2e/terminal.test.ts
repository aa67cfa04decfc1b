import { execFileSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildImage, seedRegistry, seededBytes } from '../../fixtures/images/index.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { Airgap, RUN_JS } from './parts/airgap.ts'
import { ended, poll, start, type Ended } from './parts/processes.ts'
import { startProxy, type Proxy } from './parts/proxy.ts'
import { scratch } from './parts/scratch.ts'
import { withParts } from './parts/tools.ts'

const MIB = 1024 * 1024
/** Columns and rows; 0 is what serial consoles say. */
const SIZES = [
  [0, 0],
  [1, 1],
  [2, 2],
  [80, 1],
  [1, 24],
] as const

withParts('a terminal of any size', ['script', 'setpriv'], () => {
  let folder: Awaited<ReturnType<typeof scratch>>
  let airgap: Airgap
  let registry: EmbeddedRegistry
  let proxy: Proxy

  beforeAll(async () => {
    folder = await scratch()
    airgap = new Airgap(folder.path)
    registry = await startRegistry()
    const image = await buildImage({
      platform: parsePlatform('linux/amd64'),
      files: { 'large.bin': Buffer.alloc(12 * MIB, seededBytes('terminal', 4001)) },
      compression: 'none',
    })
    seedRegistry(registry.store, 'app:1', image)
    proxy = await startProxy(registry.host)
    await airgap.run('keygen')
    await airgap.run('pack', `${registry.host}/app:1`, '-o', 'b.tar', '--key', 'airgap.key')
  })

  afterAll(async () => {
    await proxy[Symbol.asyncDispose]()
    await registry.close()
    await folder[Symbol.asyncDispose]()
  })

  /** Starts a command on a pseudo-terminal of that size, which is its standard input, output and error. */
  function onTerminal(
    [columns, rows]: readonly [number, number],
    ...args: string[]
  ): { output: () => string; ended: Promise<Ended>; resize: (...size: [number, number]) => Promise<void> } {
    const words = [process.execPath, RUN_JS, ...args].map((word) => `'${word}'`).join(' ')
    const command = `stty cols ${columns} rows ${rows} -echo && tty > tty && echo $$ > pid && exec ${words}`
    const { env } = airgap.options
    const child = start('script', ['-qec', command, '/dev/null'], {
      cwd: folder.path,
      env: { ...env, TERM: 'xterm', SHELL: '/bin/sh' },
      // `script` ends the program when its own input ends.
      keepInput: true,
    })
    let output = ''
    child.stdout?.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
    return {
      output: () => output,
      ended: ended(child),
      resize: async (...size) => {
        const tty = (await read('tty')).trim()
        execFileSync('stty', ['-F', tty, 'cols', `${size[0]}`, 'rows', `${size[1]}`])
      },
    }
  }

  async function read(name: string): Promise<string> {
    return readFile(join(folder.path, name), 'utf8')
  }

  test.each(SIZES)('%i columns and %i rows: pack, verify and push run to their end', async (...size) => {
    const name = `${size.join('x')}.tar`
    for (const args of [
      ['pack', `${registry.host}/app:1`, '-o', name, '--key', 'airgap.key'],
      ['verify', name, '--key', 'airgap.pub'],
      ['push', name, `${registry.host}/${size.join('x')}`, '--key', 'airgap.pub'],
    ]) {
      const end = await onTerminal(size, ...args).ended
      expect(end.code, end.stdout).toBe(0)
      // Drawn now and then, and not for ever.
      expect(end.stdout.length).toBeLessThan(100_000)
    }
  })

  test.each([
    ['SIGINT', 0],
    ['SIGTERM', 0],
    ['SIGINT', 1],
    ['SIGTERM', 2],
  ] as const)('%s ends it when the terminal has become one of %i', async (signal, size) => {
    const held = proxy.hold(4 * MIB)
    const target = `${signal}-${size}.tar`
    const running = onTerminal([80, 24], 'pack', `${proxy.host}/app:1`, '-o', target, '--key', 'airgap.key')
    await Promise.race([held, running.ended])
    await running.resize(size, size)
    // From then on it is drawn no longer than there is room for.
    const before = running.output().length
    await poll('the line to be drawn', () => {
      const draws = running.output().slice(before).split('\u001b[J').slice(1, -1)
      const lengths = draws.slice(-5).map((draw) => stripVTControlCharacters(draw).trimEnd().length)
      return (lengths.length === 5 && Math.max(...lengths) < Math.max(2, size || 80)) || undefined
    })
    process.kill(Number(await read('pid')), signal)
    const end = await running.ended
    proxy.release()
    expect(end.code, end.stdout).toBe(6)
    expect(end.stdout.replaceAll(/\s+/g, ' ')).toContain(`interrupted (${signal})`)
  })
})
