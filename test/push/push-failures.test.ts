import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { seededBytes } from '../../fixtures/images/index.ts'
import { pack, planPush, push, type Receipt, type TransferEvent } from '../../src/index.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import type { Reply } from '../../src/serve/registry/reply.ts'
import { signer, temporaryFolder } from '../support/build-bundle.ts'
import { failureOf, inFrontOf, registryForTest, seedImage } from './refusing.ts'
import { hintOf } from '../../src/cli/words/hints.ts'

const trust = { keys: [signer.publicKey] }

/** A bundle of images with these names, each with two layers of its own, and their sources. */
async function bundleOf(...names: string[]): Promise<{ bundle: string; images: string[] }> {
  const source = await registryForTest()
  for (const name of names) await seedImage(source, name, { layers: 2 })
  const images = names.map((name) => `${source.host}/${name}:1`)
  const bundle = join(await temporaryFolder(), 'some.tar')
  await pack({ images, output: bundle, key: signer })
  return { bundle, images }
}

function tagsOf({ store }: EmbeddedRegistry): string[] {
  return store
    .repositories()
    .flatMap((name) => (store.tags(name) ?? []).map((tag) => `${name}:${tag}`))
    .map((name) => name.slice(name.indexOf('/') + 1))
}

const isUpload = (method: string, path: string): boolean =>
  method === 'POST' && path.includes('/blobs/uploads/')

describe('what cannot be sent for one image does not stop the others', () => {
  test.each<
    [what: string, rule: (method: string, path: string) => number | undefined, part: RegExp, code: string]
  >([
    [
      'an upload that is refused',
      (method, path) => (isUpload(method, path) && path.includes('/bad/') ? 403 : undefined),
      /^blob [0-9a-f]{12} \(\d+ bytes\): /,
      'DENIED',
    ],
    [
      'a blob that is too large',
      (method, path) => (method === 'PUT' && /\/bad\/blobs\/uploads\//.test(path) ? 413 : undefined),
      /^(?:blob [0-9a-f]{12} \(\d+ bytes\)(?:, |: )){3}.*413/,
      'REGISTRY',
    ],
    [
      'a manifest',
      (method, path) => (method === 'PUT' && path.includes('/bad/manifests/sha256:') ? 400 : undefined),
      /^manifest [0-9a-f]{12} \(\d+ bytes\): .*400/,
      'REGISTRY',
    ],
    [
      'a tag',
      (method, path) => (method === 'PUT' && path.endsWith('/bad/manifests/1') ? 400 : undefined),
      /^tag 1: .*400/,
      'REGISTRY',
    ],
    [
      'a repository that nobody may read',
      (_, path) => (path.includes('/bad/') ? 403 : undefined),
      /^asking the target: .*403/,
      'DENIED',
    ],
  ])('%s', async (_, rule, part, code) => {
    const { bundle, images } = await bundleOf('bad', 'fine', 'good')
    const target = await registryForTest()
    let isRefusing = true
    const host = await inFrontOf(target, (method, path) => (isRefusing ? rule(method, path) : undefined))
    const receipts: Receipt[] = []
    const events: TransferEvent[] = []
    const options = { ...trust, onIncomplete: (receipt: Receipt) => void receipts.push(receipt) }
    const error = await failureOf(push(bundle, host, { ...options, onEvent: (event) => events.push(event) }))
    expect(error).toMatchObject({ code: 'INCOMPLETE', exitCode: 6 })
    expect(error.message).toBe('the push of 1 of 3 images could not be completed')
    for (const problem of error.problems) {
      expect(problem).toMatchObject({ entry: images[0], code })
      expect(problem.message).toMatch(part)
    }
    expect(error.problems.length).toBeGreaterThan(0)
    expect(hintOf(error)).toContain('push again with the same command')
    expect(events.some((event) => event.type === 'failed' && event.code === code)).toBe(true)
    expect(tagsOf(target)).toEqual(['fine:1', 'good:1'])
    expect(receipts).toHaveLength(1)
    expect(receipts[0]?.complete).toBe(false)
    expect(receipts[0]?.images.map(({ tag }) => tag.state)).toEqual(['not-set', 'created', 'created'])

    // The same command goes on, and sends nothing twice.
    isRefusing = false
    const receipt = await push(bundle, host, trust)
    expect(receipt.images.map(({ tag }) => tag.state)).toEqual(['created', 'unchanged', 'unchanged'])
    const others = receipt.images.slice(1).flatMap(({ content }) => content)
    expect(new Set(others.map(({ outcome }) => outcome))).toEqual(
      new Set(['present-not-read', 'present-read-back']),
    )
  })

  test('an upload that fails in one repository is made in the next one that needs the blob', async () => {
    const source = await registryForTest()
    const built = await seedImage(source, 'bad/same')
    await seedImage(source, 'bad/same')
    source.store.putManifest('good/same', built.bytes, built.descriptor.mediaType, '1')
    for (const { bytes } of [built.config, ...built.layers]) source.store.putBlob('good/same', bytes)
    const images = ['bad', 'good'].map((name) => `${source.host}/${name}/same:1`)
    const bundle = join(await temporaryFolder(), 'same.tar')
    await pack({ images, output: bundle, key: signer })
    const target = await registryForTest()
    const host = await inFrontOf(target, (method, path) =>
      isUpload(method, path) && path.includes('/bad/') ? 403 : undefined,
    )
    const error = await failureOf(push(bundle, host, trust))
    expect(error.problems.map(({ entry, code }) => [entry, code])).toEqual([[images[0], 'DENIED']])
    expect(tagsOf(target)).toEqual(['good/same:1'])
  })

  test('a plan says what would not arrive', async () => {
    const { bundle, images } = await bundleOf('bad', 'good')
    const target = await registryForTest()
    const host = await inFrontOf(target, (_, path) => (path.includes('/bad/') ? 403 : undefined))
    const error = await failureOf(planPush(bundle, host, trust))
    expect(error).toMatchObject({ code: 'INCOMPLETE', problems: [{ entry: images[0], code: 'DENIED' }] })
    expect(hintOf(error)).toContain(`--exclude ${images[0]}`)
    expect(target.store.repositories()).toEqual([])
  })
})

describe('what is wrong with all images is said once', () => {
  test('credentials that are missing, at the first request', async () => {
    const { bundle } = await bundleOf('one', 'two', 'three')
    const target = await startRegistry({ auth: { basic: { robot: 'right' } } })
    onTestFinished(() => target.close())
    const registries = { credentials: async () => ({ username: 'robot', password: 'wrong' }) }
    const error = await failureOf(push(bundle, target.host, { ...trust, registries, concurrency: 1 }))
    expect(error).toMatchObject({ code: 'UNAUTHORIZED', exitCode: 5, problems: [] })
    // Once for the challenge, once with the password: nobody gets locked out by a wrong one.
    expect(target.requests.filter(({ authorization }) => authorization === 'basic')).toHaveLength(1)
  })

  test('a permission that all repositories refuse', async () => {
    const { bundle } = await bundleOf('one', 'two', 'three')
    const target = await registryForTest()
    let refused = 0
    const host = await inFrontOf(target, (method, path) => {
      if (!isUpload(method, path)) return undefined
      refused += 1
      return 403
    })
    const receipts: Receipt[] = []
    const events: string[] = []
    const error = await failureOf(
      push(bundle, host, {
        ...trust,
        concurrency: 1,
        onIncomplete: (receipt) => void receipts.push(receipt),
        onEvent: ({ type }) => events.push(type),
      }),
    )
    expect(error).toMatchObject({ code: 'DENIED', exitCode: 5, problems: [] })
    expect(error.message).toContain('(and so for all 3 images)')
    expect(receipts).toEqual([])
    // A repository that has refused one blob is not asked to take the others.
    expect(refused).toBe(3)
    expect(events.filter((type) => type === 'failed')).toHaveLength(1)
  })
})

describe('after an answer that is the same for everything else', () => {
  const names = Array.from({ length: 8 }, (_, i) => `team/app${i}`)

  function answer(status: number, code: string, message: string): Reply {
    const body = Buffer.from(JSON.stringify({ errors: [{ code, message }] }))
    return { status, headers: { 'Content-Length': String(body.length) }, body }
  }

  const isWrite = (method: string): boolean => method !== 'GET' && method !== 'HEAD'

  test('nothing more is sent; what is under way is called off; one block says what is there', async () => {
    const { bundle } = await bundleOf(...names)
    let puts = 0
    let isHanging = 0
    const target = await startRegistry({
      front: async ({ method, path, readBody }) => {
        if (method !== 'PUT' || !path.includes('/uploads/')) return undefined
        puts += 1
        if (puts <= 3) return undefined
        // One is not answered at all until its sender gives it up, which has to be before its timeout.
        if (puts === 4) {
          isHanging += 1
          await readBody(1e6)
          return new Promise(() => {})
        }
        return answer(507, 'UNKNOWN', '')
      },
    })
    onTestFinished(() => target.close())
    const events: TransferEvent[] = []
    const error = await failureOf(
      push(bundle, target.host, { ...trust, concurrency: 2, onEvent: (event) => void events.push(event) }),
    )
    expect([error.code, error.exitCode, error.problems, isHanging]).toEqual(['REGISTRY', 4, [], 1])
    expect(error.message).toContain('the disk of the registry is full')
    expect(hintOf(error)).toContain(
      `Nothing more was sent to ${target.host}. In place: 0 of 8 images; 3 of 24 blobs (`,
    )
    expect(hintOf(error)).toContain('Have space freed there')
    expect(puts).toBe(5)
    expect(events.filter(({ type }) => type === 'failed' || type === 'warning')).toEqual([])
  })

  test('images that were complete before are in place, and the push can be taken up again', async () => {
    const { bundle } = await bundleOf(...names)
    let isFull = false
    const target = await startRegistry({
      front: async ({ method }) =>
        isFull && isWrite(method) ? answer(500, 'UNKNOWN', 'write /x: no space left on device') : undefined,
    })
    onTestFinished(() => target.close())
    await push(bundle, target.host, { ...trust, include: ['*/team/app0', '*/team/app1'] })
    isFull = true
    target.requests.splice(0)
    const error = await failureOf(push(bundle, target.host, { ...trust, concurrency: 1 }))
    expect([error.code, error.problems]).toEqual(['INCOMPLETE', []])
    expect(error.message).toContain('the disk of the registry is full')
    expect(hintOf(error)).toContain('In place: 2 of 8 images; 6 of 24 blobs')
    expect(target.requests.filter(({ method }) => isWrite(method))).toHaveLength(1)
    isFull = false
    expect((await push(bundle, target.host, trust)).complete).toBe(true)
  })

  test('a quota ends one project, and the others go on', async () => {
    const { bundle } = await bundleOf('full/a', 'full/b', 'free/a')
    const target = await startRegistry({
      front: async ({ method, path }) =>
        method === 'PUT' && path.startsWith('/v2/full/')
          ? answer(403, 'DENIED', 'it will exceed the configured upper limit of 10.0 MiB.')
          : undefined,
    })
    onTestFinished(() => target.close())
    const error = await failureOf(push(bundle, target.host, { ...trust, concurrency: 1, path: 'strip-host' }))
    expect([error.code, error.exitCode]).toEqual(['INCOMPLETE', 6])
    expect(hintOf(error)).toContain(`Nothing more was sent to ${target.host}/full. In place: 1 of 3 images`)
    expect(tagsOf(target)).toEqual(['a:1'])
    const refused = target.requests.filter(({ method, path }) => method === 'PUT' && path.includes('/full/'))
    expect(refused).toHaveLength(1)
  })
})

test('no tag is set before the bytes of what could not be sent have been checked, too', async () => {
  const { bundle } = await bundleOf('bad', 'good')
  const target = await registryForTest()
  const host = await inFrontOf(target, (method, path) =>
    isUpload(method, path) && path.includes('/bad/') ? 403 : undefined,
  )
  const bytes = await readFile(bundle)
  // A layer of the image that is not sent: nobody reads it on its way.
  const at = bytes.indexOf(seededBytes('bad 1', 501).subarray(0, 40))
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
  await writeFile(bundle, bytes)
  const error = await failureOf(push(bundle, host, trust))
  expect(error.code).toBe('VERIFICATION_FAILED')
  expect(tagsOf(target)).toEqual([])
})
