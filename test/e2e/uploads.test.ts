import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { AMD64, buildImage, seedRegistry, seededBytes } from '../../fixtures/images/index.ts'
import { startRegistry } from '../support/registry/registry.ts'
import { Airgap, describeEnd } from './parts/airgap.ts'
import { poll } from './parts/processes.ts'
import { startProxy, type Proxy } from './parts/proxy.ts'
import {
  startCraneRegistry,
  startDistribution3,
  startDockerRegistry,
  startNginx,
  type Registry,
} from './parts/registries.ts'
import { scratch } from './parts/scratch.ts'
import { withParts, type Part } from './parts/tools.ts'

const MIB = 1024 * 1024
/** Three chunks: two of 32 MiB and one of 16 and a little. */
const LAYER = 80 * MIB

type Start = (store: string, folder: string) => Promise<Registry>

const REGISTRIES: [name: string, part: Part, start: Start][] = [
  ['docker-registry', 'docker-registry', (store, folder) => startDockerRegistry({ store, scratch: folder })],
  ['distribution 3', 'registry', (store, folder) => startDistribution3({ store, scratch: folder })],
  ['crane’s registry', 'crane', (store) => startCraneRegistry(store)],
]

let folder: Awaited<ReturnType<typeof scratch>>
let bundle: string
let count = 0

beforeAll(async () => {
  folder = await scratch()
  bundle = join(folder.path, 'bundle.tar')
  await using source = await startRegistry()
  const built = await buildImage({
    platform: AMD64,
    files: { 'large.bin': Buffer.alloc(LAYER, seededBytes('uploads', 4001)) },
    compression: 'none',
  })
  seedRegistry(source.store, 'app:1', built)
  await new Airgap(folder.path).run('pack', `${source.host}/app:1`, '-o', bundle, '--no-sign')
})
afterAll(() => folder?.[Symbol.asyncDispose]())

/** A home folder of its own: what is remembered of uploads is there. */
async function home(): Promise<{ path: string; airgap: Airgap }> {
  const path = join(folder.path, `home-${(count += 1)}`)
  await mkdir(path)
  return { path, airgap: new Airgap(path) }
}

const push = (host: string): string[] => ['push', bundle, host, '--allow-unsigned', '--verify-target']

/** Runs a push that has to succeed, and gives what it said on the way. */
async function pushed(airgap: Airgap, host: string): Promise<string> {
  const end = await airgap.attempt(...push(host))
  expect(end.code, describeEnd(end)).toBe(0)
  return end.stderr
}

const stateIn = (path: string): string => join(path, '.local/state/airgap/uploads')

/** Kills the push when `when` has come. */
async function killed(airgap: Airgap, host: string, when: Promise<unknown>): Promise<void> {
  const { child, ended } = airgap.start(...push(host))
  await Promise.race([
    when,
    ended.then((end) => {
      throw new Error(`the push ended by itself\n${describeEnd(end)}`)
    }),
  ])
  child.kill('SIGKILL')
  await ended
}

/** Leaves an upload with one chunk of 32 MiB acknowledged, by two pushes that are killed. */
async function killedBetweenChunks(airgap: Airgap, path: string, proxy: Proxy): Promise<void> {
  await killed(airgap, proxy.host, proxy.cut(20 * MIB))
  expect(recorded(path)).toMatchObject([{ mode: 'stream' }])
  await killed(airgap, proxy.host, proxy.holdBefore(`content-range: ${32 * MIB}-`))
  expect(recorded(path)).toMatchObject([{ mode: 'chunks', acknowledged: 32 * MIB }])
  proxy.release()
}

function recorded(path: string): unknown[] {
  const [name = ''] = readdirSync(stateIn(path))
  return (JSON.parse(readFileSync(join(stateIn(path), name), 'utf8')) as { uploads: unknown[] }).uploads
}

for (const [name, part, start] of REGISTRIES) {
  withParts(`uploads to ${name}`, [part], () => {
    test('a connection cut in one stream, and again in a chunk: the push completes', async () => {
      const store = join(folder.path, `store-${(count += 1)}`)
      await mkdir(store, { recursive: true })
      await using registry = await start(store, folder.path)
      await using proxy = await startProxy(registry.host)
      const { airgap, path } = await home()
      const cuts = proxy.cut(20 * MIB).then(() => proxy.cut(50 * MIB))
      const said = await pushed(airgap, proxy.host)
      await cuts
      expect(said.match(/trying again|again in|retry/gi)?.length, said).toBeGreaterThanOrEqual(2)
      expect(existsSync(stateIn(path)) ? readdirSync(stateIn(path)) : []).toEqual([])
    })

    test('SIGKILL between chunks: the next push goes on where the registry is, if it says so', async () => {
      const store = join(folder.path, `store-${(count += 1)}`)
      await mkdir(store, { recursive: true })
      await using registry = await start(store, folder.path)
      await using proxy = await startProxy(registry.host)
      const { airgap, path } = await home()
      await killedBetweenChunks(airgap, path, proxy)
      const before = proxy.sent()
      await pushed(airgap, proxy.host)
      const sent = proxy.sent() - before
      // crane's registry has no way to ask how far an upload is, so it gets the whole again.
      const least = part === 'crane' ? LAYER : LAYER - 32 * MIB
      expect(sent).toBeGreaterThan(least)
      expect(sent).toBeLessThan(least + MIB)
      expect(readdirSync(stateIn(path))).toEqual([])
    })
  })
}

withParts('uploads to docker-registry that is started anew', ['docker-registry'], () => {
  test.each([
    ['set: the upload goes on', {}, LAYER - 32 * MIB],
    ['not set: that blob starts over', { secret: false }, LAYER],
  ] as const)('with http.secret %s', async (_, options, least) => {
    const store = join(folder.path, `store-${(count += 1)}`)
    await mkdir(store)
    const started = (): Promise<Registry> => startDockerRegistry({ store, scratch: folder.path, ...options })
    const first = await started()
    await using proxy = await startProxy(first.host)
    const { airgap, path } = await home()
    await killedBetweenChunks(airgap, path, proxy)
    await first[Symbol.asyncDispose]()
    await using second = await started()
    proxy.lead(second.host)
    const before = proxy.sent()
    await pushed(airgap, proxy.host)
    const sent = proxy.sent() - before
    expect(sent).toBeGreaterThan(least)
    expect(sent).toBeLessThan(least + MIB)
  })

  test('in the middle of a push that goes on', async () => {
    const store = join(folder.path, `store-${(count += 1)}`)
    await mkdir(store)
    const first = await startDockerRegistry({ store, scratch: folder.path })
    await using proxy = await startProxy(first.host)
    const { airgap } = await home()
    const { child, ended } = airgap.start(...push(proxy.host))
    const cut = proxy.cut(20 * MIB)
    await cut
    await first[Symbol.asyncDispose]()
    await using second = await startDockerRegistry({ store, scratch: folder.path })
    proxy.lead(second.host)
    const end = await ended
    expect(end.code, describeEnd(end)).toBe(0)
    expect(child.exitCode).toBe(0)
  })
})

withParts('uploads through nginx', ['docker-registry', 'nginx'], () => {
  test('with client_max_body_size 10m: chunks that fit, and the user is told', async () => {
    const store = join(folder.path, `store-${(count += 1)}`)
    await mkdir(store)
    await using registry = await startDockerRegistry({ store, scratch: folder.path })
    await using nginx = await startNginx(registry.host, folder.path, '10m')
    const { airgap } = await home()
    const said = await pushed(airgap, nginx.host)
    expect(said.match(/refuses large requests: uploads to it go in chunks of 8 MiB/g)).toHaveLength(1)
    await poll('the access log', () => (/PATCH/.test(registry.output()) ? true : undefined))
  })
})
