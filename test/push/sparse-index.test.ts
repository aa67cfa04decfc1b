import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import {
  AMD64,
  buildkitIndex,
  nestedIndex,
  seedRegistry,
  singleManifest,
  type BuiltIndex,
} from '../../fixtures/images/index.ts'
import { AirgapError } from '../../src/errors.ts'
import { pack, planPush, push, type PushOptions, type Receipt } from '../../src/index.ts'
import { MemoryStore } from '../support/registry/memory-store.ts'
import {
  startRegistry,
  type EmbeddedRegistry,
  type EmbeddedRegistryOptions,
} from '../support/registry/registry.ts'
import { signer } from '../support/build-bundle.ts'
import { expectShape } from '../support/schemas.ts'

let source: EmbeddedRegistry
let folder: string
let bundle: string
let index: BuiltIndex
let nested: BuiltIndex

beforeAll(async () => {
  const store = new MemoryStore()
  index = await buildkitIndex('app')
  nested = await nestedIndex()
  seedRegistry(store, 'app:1', index)
  seedRegistry(store, 'nested:1', nested)
  seedRegistry(store, 'single:1', await singleManifest('oci', AMD64))
  source = await startRegistry({ store })
  folder = await mkdtemp(join(tmpdir(), 'airgap-sparse-'))
  bundle = join(folder, 'part.tar')
  await pack({
    images: ['app:1', 'nested:1', 'single:1'].map((name) => `${source.host}/${name}`),
    platforms: ['linux/amd64'],
    output: bundle,
    key: signer,
  })
})
afterAll(async () => {
  await source.close()
  await rm(folder, { recursive: true })
})

async function target(options: EmbeddedRegistryOptions = {}): Promise<EmbeddedRegistry> {
  const registry = await startRegistry(options)
  onTestFinished(() => registry.close())
  return registry
}

const options = { keys: [signer.publicKey], path: 'strip-host', sparseIndex: true } as const

function to({ host }: EmbeddedRegistry, more: Partial<PushOptions> = {}): Promise<Receipt> {
  return push(bundle, host, { ...options, ...more })
}

const tagOf = (digest: string): string => `airgap-${digest.slice(7, 19)}`

describe('--sparse-index', () => {
  it('puts the source index by its digest, with a tag that keeps it; other tags point to what is delivered', async () => {
    const registry = await target({ sparseIndexes: true })
    const receipt = await to(registry)
    expectShape('receipt', receipt)
    const { images, complete } = receipt
    expect(complete).toBe(true)
    const { digest } = index.descriptor
    const app = images.find(({ target: name }) => name.endsWith('/app:1'))
    expect(app?.sparseIndex).toEqual({ digest, tag: tagOf(digest), outcome: 'uploaded' })
    expect(app?.digest).not.toBe(digest)
    expect(registry.store.manifest('app', '1')?.digest).toBe(app?.digest)
    expect(registry.store.manifest('app', tagOf(digest))?.digest).toBe(digest)
    expect(Buffer.from(registry.store.manifest('app', digest)!.bytes)).toEqual(Buffer.from(index.bytes))
    // Whoever pins the digest finds the platform that is there, and not the other one.
    const children = index.children.map((child) => child.descriptor)
    const there = children.filter((child) => registry.store.manifest('app', child.digest))
    expect(there.map(({ platform }) => platform?.architecture)).toContain('amd64')
    expect(there.map(({ platform }) => platform?.architecture)).not.toContain('arm64')
  })

  it('puts nested indexes that lead to what is delivered before the one that lists them', async () => {
    const registry = await target({ sparseIndexes: true })
    await to(registry)
    const manifests = registry.requests.filter(
      ({ method, path }) => method === 'PUT' && path.startsWith('/v2/nested/manifests/'),
    )
    const puts = manifests.map(({ path }) => path.slice('/v2/nested/manifests/'.length))
    const { digest } = nested.descriptor
    const own = puts.indexOf(digest)
    const inner = nested.children
      .filter(({ kind }) => kind === 'index')
      .map((child) => child.descriptor.digest)
    const putInner = inner.filter((one) => puts.includes(one))
    expect(putInner.length).toBeGreaterThan(0)
    for (const one of putInner) expect(puts.indexOf(one)).toBeLessThan(own)
    expect(puts.at(-1)).toBe(tagOf(digest))
  })

  it('says nothing of images that are delivered as their source has them', async () => {
    const { images } = await to(await target({ sparseIndexes: true }))
    expect(images.find(({ target: name }) => name.endsWith('/single:1'))?.sparseIndex).toBeUndefined()
  })

  it('is in the plan, and finds the second time what it has put the first time', async () => {
    const registry = await target({ sparseIndexes: true })
    const states = async (): Promise<(string | undefined)[]> =>
      (await planPush(bundle, registry.host, options)).images.map((one) => one.sparseIndex?.state)
    expect(await states()).toEqual(['to-send', 'to-send', undefined])
    expect(registry.requests.every(({ method }) => method === 'HEAD')).toBe(true)
    await to(registry)
    expect(await states()).toEqual(['present', 'present', undefined])
    const before = registry.requests.length
    const again = await to(registry)
    expect(again.images[0]?.sparseIndex?.outcome).toBe('present-read-back')
    expect(registry.requests.slice(before).every(({ method }) => method === 'GET' || method === 'HEAD')).toBe(
      true,
    )
  })

  it('is not done unless it is asked for', async () => {
    const registry = await target({ sparseIndexes: true })
    const { images } = await to(registry, { sparseIndex: false })
    expect(images.every((one) => one.sparseIndex === undefined)).toBe(true)
    expect(registry.store.manifest('app', index.descriptor.digest)).toBeUndefined()
  })

  it('where a registry refuses it: all else is done, the error says which images, the receipt too', async () => {
    const registry = await target()
    const receipts: Receipt[] = []
    const onIncomplete = (receipt: Receipt): void => void receipts.push(receipt)
    const error = (await to(registry, { onIncomplete }).catch((thrown: unknown) => thrown)) as AirgapError
    expect(error).toBeInstanceOf(AirgapError)
    expect({ code: error.code, exitCode: error.exitCode }).toEqual({ code: 'INCOMPLETE', exitCode: 6 })
    expect(error.message).toContain('the source index of 2 images')
    expect(error.problems.map(({ entry }) => entry)).toEqual([
      `${registry.host}/app@${index.descriptor.digest}`,
      `${registry.host}/nested@${nested.descriptor.digest}`,
    ])
    expect(error.problems[0]?.message).toContain('400 MANIFEST_BLOB_UNKNOWN')
    expect(error.hint).toContain('validation.manifests.indexes.platforms')
    const [receipt] = receipts
    expectShape('receipt', receipt)
    expect(receipt?.complete).toBe(false)
    expect(receipt?.images.map(({ tag }) => tag.state)).toEqual(['created', 'created', 'created'])
    expect(receipt?.images[0]?.sparseIndex).toMatchObject({ outcome: 'refused' })
    expect(
      receipt?.images.flatMap(({ content }) => content).every(({ outcome }) => outcome !== 'not-sent'),
    ).toBe(true)
    expect(registry.store.tags('app')).toEqual(['1'])
    // When all tags are there already, it is told again.
    const onAgain = (again: Receipt): void => void receipts.push(again)
    const again = (await to(registry, { onIncomplete: onAgain }).catch(
      (thrown: unknown) => thrown,
    )) as AirgapError
    expect(again.code).toBe('INCOMPLETE')
    expect(receipts).toHaveLength(2)
  })

  it('breaks off where the registry fails instead of refusing', async () => {
    const registry = await target({
      sparseIndexes: true,
      front: async ({ method, path }) =>
        method === 'PUT' && path.endsWith(index.descriptor.digest)
          ? { status: 403, headers: { 'Content-Length': '0' } }
          : undefined,
    })
    const receipts: Receipt[] = []
    const error = (await to(registry, { onIncomplete: (receipt) => void receipts.push(receipt) }).catch(
      (thrown: unknown) => thrown,
    )) as AirgapError
    expect(error.code).toBe('DENIED')
    expect(receipts[0]?.images[0]?.sparseIndex?.outcome).toBe('not-sent')
  })

  it('does not move a tag of that name', async () => {
    const registry = await target({ sparseIndexes: true })
    seedRegistry(registry.store, `app:${tagOf(index.descriptor.digest)}`, await singleManifest())
    const error = (await to(registry).catch((thrown: unknown) => thrown)) as AirgapError
    expect(error.code).toBe('TAG_WOULD_MOVE')
    expect(error.problems[0]?.entry).toBe(`${registry.host}/app:${tagOf(index.descriptor.digest)}`)
    await to(registry, { moveTags: true })
    expect(registry.store.manifest('app', tagOf(index.descriptor.digest))?.digest).toBe(
      index.descriptor.digest,
    )
  })
})
