import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { buildImage, seedRegistry, seededBytes } from '../../fixtures/images/index.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { decodeLines } from '../../src/pack/resume/format.ts'
import { startProxy, type Proxy } from '../e2e/parts/proxy.ts'
import { CACHE, scratch, session, type Session } from '../support/airgap.ts'

const RUN = join(import.meta.dirname, '../../bin/run.js')
const MIB = 1024 * 1024
/** Enough for a thread to hash what comes. */
const LARGE = 12 * MIB

let folder: Awaited<ReturnType<typeof scratch>>
let registry: EmbeddedRegistry
let proxy: Proxy
let good: Session['good']
let args: string[]

beforeAll(async () => {
  folder = await scratch()
  ;({ good } = session(folder.path))
  registry = await startRegistry()
  const image = await buildImage({
    platform: parsePlatform('linux/amd64'),
    files: { 'large.bin': Buffer.alloc(LARGE, seededBytes('large', 4001)) },
    compression: 'none',
  })
  seedRegistry(registry.store, 'app:1', image)
  proxy = await startProxy(registry.host)
  args = ['pack', `${proxy.host}/app:1`, '-o', 'app.tar', '--no-sign']
})

afterAll(async () => {
  await proxy[Symbol.asyncDispose]()
  await registry.close()
  await folder[Symbol.asyncDispose]()
})

function start(more: string[] = []): ChildProcess {
  const child = spawn(process.execPath, [RUN, ...args, ...more], {
    cwd: folder.path,
    env: { PATH: process.env.PATH, HOME: '/nonexistent', NODE_COMPILE_CACHE: CACHE },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}

/** How far the layer is, as the journal has it. Bytes. */
async function written(): Promise<number> {
  const bytes = await readFile(folder.file('app.tar.partial.journal')).catch(() => Buffer.alloc(0))
  const lines = [...decodeLines(bytes)].map(({ json }) => JSON.parse(json.toString()) as { written?: number })
  return Math.max(0, ...lines.map((line) => line.written ?? 0))
}

/** Starts a pack, and stops it by a signal when so many bytes have come through, and most of them into the file. */
async function stopAfter(bytes: number, signal: NodeJS.Signals, more: string[] = []): Promise<string> {
  const before = await written()
  const held = proxy.hold(bytes)
  const child = start(more)
  const output = text(child.stdout!)
  const closed = once(child, 'close')
  await Promise.race([held, closed.then(() => Promise.reject(new Error('it was over before')))])
  const expected = before + bytes - 2 * MIB
  await vi.waitFor(async () => expect(await written()).toBeGreaterThan(expected), { timeout: 60_000 })
  child.kill(signal)
  await closed
  proxy.release()
  return output
}

test('a pack that is killed at any moment is taken up by the same command', async () => {
  // While it resolves.
  await stopAfter(300, 'SIGKILL')
  expect(await readdir(folder.path)).toEqual(['app.tar.partial'])
  // In the middle of a layer.
  await stopAfter(4 * MIB, 'SIGKILL')
  expect((await readdir(folder.path)).toSorted()).toEqual(['app.tar.partial', 'app.tar.partial.journal'])
  registry.requests.length = 0
  // Interrupted by hand, farther on.
  const document = JSON.parse(await stopAfter(4 * MIB, 'SIGINT', ['--json'])) as {
    error: { code: string; hint: string }
  }
  expect(document.error).toMatchObject({ code: 'INTERRUPTED' })
  expect(document.error.hint).toMatch(
    /^[45678](?:\.\d)? MB of 13 MB are in app\.tar\.partial; the same command resumes from there\.$/,
  )

  const { stdout, stderr } = await good(args)
  expect(stderr).toMatch(/^Resuming app\.tar\.partial: .* of 13 MB are there, begun \d{4}-\d\d-\d\d .* UTC\n/)
  expect(stdout).toMatch(/resumed +[45678](?:\.\d)? MB\n/)
  expect(registry.requests.some(({ path }) => path.includes('/manifests/'))).toBe(false)
  const positions = registry.requests
    .filter(({ method, path }) => method === 'GET' && path.includes('/blobs/'))
    .map(({ range }) => Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0))
  expect(positions).toHaveLength(2)
  expect(positions[0]).toBeGreaterThan(2 * MIB)
  expect(positions[1]).toBeGreaterThan(4 * MIB)
  expect(await readdir(folder.path)).toEqual(['app.tar'])
  await good(['verify', 'app.tar', '--integrity-only'])
})
