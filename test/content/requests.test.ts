import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { buildImage, seedRegistry, seededBytes } from '../../fixtures/images/index.ts'
import { buildLayer } from '../../fixtures/images/content.ts'
import { pack, parsePlatform, push, resolve, type TransferEvent } from '../../src/index.ts'
import {
  startRegistry,
  type EmbeddedRegistry,
  type EmbeddedRegistryOptions,
} from '../support/registry/registry.ts'

const COUNT = 45

async function start(options: EmbeddedRegistryOptions = {}): Promise<EmbeddedRegistry> {
  const registry = await startRegistry(options)
  onTestFinished(() => registry.close())
  return registry
}

async function scratch(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'airgap-requests-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** Small images in repositories of their own, which share their base. */
async function seed(registry: EmbeddedRegistry, count: number): Promise<string[]> {
  const base = [await buildLayer({ base: seededBytes('base', 2000) })]
  const images: string[] = []
  for (let i = 0; i < count; i++) {
    const built = await buildImage({
      platform: parsePlatform('linux/amd64'),
      base,
      files: { own: seededBytes(`own-${i}`, 500) },
    })
    seedRegistry(registry.store, `team/app-${i}:1`, built)
    images.push(`${registry.host}/team/app-${i}:1`)
  }
  return images
}

function kindOf(path: string): string {
  if (path.endsWith('/tags/list')) return 'tags'
  if (path === '/token') return 'token'
  if (/\/referrers\/|\/manifests\/sha256-[0-9a-f]{64}\.(?:sig|att|sbom)$/.test(path)) return 'referrer'
  return path.includes('/manifests/') ? 'manifest' : 'blob'
}

/** What was asked for since the last call, by kind. */
function counted({ requests }: EmbeddedRegistry): Record<string, number> {
  const kinds: Record<string, number> = {}
  for (const { method, path } of requests.splice(0)) {
    const kind = kindOf(path)
    const name = kind === 'token' ? kind : `${method} ${kind}`
    kinds[name] = (kinds[name] ?? 0) + 1
  }
  return kinds
}

/** What it costs to find out what refers to so many manifests, each in a repository of its own. */
function lookingUp(manifests: number): Record<string, number> {
  return { 'GET referrer': manifests, 'GET tags': manifests }
}

test('many images cost a handful of tokens, and what is there already is asked for once', async () => {
  const source = await start({ auth: { bearer: {} } })
  const target = await start({ auth: { bearer: {} } })
  const output = join(await scratch(), 'bundle.tar')
  await pack({ images: await seed(source, COUNT), output, key: 'unsigned' })
  const packed = counted(source)
  expect(packed.token).toBe(2)
  expect(packed['GET manifest']).toBeLessThanOrEqual(COUNT + 6)
  expect(packed).toMatchObject(lookingUp(COUNT))

  const into = { unauthenticated: true, path: 'strip-host' } as const
  await push(output, target.host, into)
  // Two for what is to be pushed, and two that hold where mounts come from as well.
  expect(counted(target).token).toBeLessThanOrEqual(4)
  await push(output, target.host, into)
  const again = counted(target)
  expect(again.token).toBe(2)
  expect(again['HEAD manifest']).toBeLessThanOrEqual(COUNT + 6)
  expect(again['GET manifest']).toBe(COUNT)
  expect(again['PUT manifest']).toBeUndefined()
})

test('with an earlier bundle no manifest is got that has not changed', async () => {
  const source = await start()
  const images = await seed(source, 5)
  const output = join(await scratch(), 'bundle.tar')
  await pack({ images, output, key: 'unsigned' })
  seedRegistry(
    source.store,
    'team/app-3:1',
    await buildImage({ platform: parsePlatform('linux/amd64'), files: { own: 'changed' } }),
  )
  counted(source)
  const second = await pack({ images, output: `${output}.2`, key: 'unsigned', reuse: [output] })
  expect(counted(source)).toEqual({
    'HEAD manifest': 5,
    'GET manifest': 1,
    'GET blob': 2,
    ...lookingUp(5),
  })
  const lock = await resolve({ images })
  expect(second.description.images.map(({ digest }) => digest)).toEqual(
    lock.images.map(({ digest }) => digest),
  )
})

test('a registry that says nothing by HEAD is asked for a manifest once', async () => {
  const source = await start({ quirks: ['no-digest-header'] })
  const images = await seed(source, 2)
  const output = join(await scratch(), 'bundle.tar')
  await pack({ images, output, key: 'unsigned' })
  seedRegistry(
    source.store,
    'team/app-1:1',
    await buildImage({ platform: parsePlatform('linux/amd64'), files: { own: 'changed' } }),
  )
  counted(source)
  await pack({ images, output: `${output}.2`, key: 'unsigned', reuse: [output] })
  expect(counted(source)).toEqual({
    'HEAD manifest': 2,
    'GET manifest': 2,
    'GET blob': 2,
    ...lookingUp(2),
  })
})

test('retries, timeout and rate are checked', async () => {
  const images = ['registry.invalid/a:1']
  for (const wrong of [{ retries: -1 }, { timeout: 0 }, { maxRate: Number.NaN }]) {
    await expect(resolve({ images, ...wrong })).rejects.toMatchObject({ code: 'USAGE' })
  }
  const events: TransferEvent[] = []
  const registries = { plainHttp: ['127.0.0.1'] }
  const busy = await start({ quirks: ['busy-once'] })
  const [image = ''] = await seed(busy, 1)
  const onEvent = (event: TransferEvent): void => void events.push(event)
  await expect(resolve({ images: [image], registries, retries: 0, onEvent })).rejects.toMatchObject({
    code: 'REGISTRY',
  })
  expect((await resolve({ images: [image], registries, retries: 1, onEvent })).images).toHaveLength(1)
})
