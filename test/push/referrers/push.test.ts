import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cosignManifest, seedRegistry, simpleSigning } from '../../../fixtures/images/index.ts'
import type { AirgapError } from '../../../src/errors.ts'
import {
  pack,
  planPush,
  push,
  type PushOptions,
  type Receipt,
  type TransferEvent,
} from '../../../src/index.ts'
import { cosignTag } from '../../../src/oci/cosign.ts'
import type { Digest } from '../../../src/oci/digest.ts'
import { parseManifest } from '../../../src/oci/manifest.ts'
import type { EmbeddedRegistry } from '../../support/registry/registry.ts'
import { startRegistry } from '../../support/registry/registry.ts'
import { signer } from '../../support/build-bundle.ts'
import { expectShape } from '../../support/schemas.ts'
import { makeClient } from '../../support/client.ts'
import { EVERYTHING, named, seedSigned, signedImage, started, type Signed } from '../../support/attached.ts'
import { hintOf } from '../../../src/cli/words/hints.ts'

let all: Signed
let folder: string
let whole: string
let part: string

beforeAll(async () => {
  all = await signedImage()
  folder = await mkdtemp(join(tmpdir(), 'airgap-travel-'))
  await using source = await startRegistry()
  seedSigned(source.store, 'app', all)
  seedRegistry(source.store, 'app:latest', all.index)
  ;[whole, part] = ['whole.tar', 'part.tar'].map((name) => join(folder, name)) as [string, string]
  const images = [`${source.host}/app:1`, `${source.host}/app:latest`]
  await pack({ images, output: whole, key: signer })
  await pack({ images: [`${source.host}/app:1`], output: part, key: signer, platforms: ['linux/amd64'] })
})
afterAll(() => rm(folder, { recursive: true }))

const into = { keys: [signer.publicKey], path: 'strip-host', stateDirectory: false } as const

/** What became of all that travels along, by the names of a {@link Signed}. */
function outcomes({ images }: Pick<Receipt, 'images'>): Record<string, string> {
  const all1 = images[0]?.referrers ?? []
  return Object.fromEntries(
    all1.map((one) => [named([one], all)[0] ?? '', [one.outcome, one.foundBy].filter(Boolean).join(' ')]),
  )
}

function stored({ store }: EmbeddedRegistry, reference: string): Digest | undefined {
  return store.manifest('app', reference)?.digest
}

const sigTag = (): string => cosignTag(all.index.descriptor.digest, 'sig')

async function failing(
  bundle: string,
  host: string,
  options: Partial<PushOptions> = {},
): Promise<{ error: AirgapError; receipt: Receipt | undefined; events: TransferEvent[] }> {
  const receipts: Receipt[] = []
  const events: TransferEvent[] = []
  const error = await push(bundle, host, {
    ...into,
    ...options,
    onEvent: (event) => void events.push(event),
    onIncomplete: (receipt) => void receipts.push(receipt),
  }).then(
    () => expect.unreachable('the push should not be complete'),
    (thrown: unknown) => thrown as AirgapError,
  )
  for (const receipt of receipts) expectShape('receipt', receipt)
  return { error, receipt: receipts[0], events }
}

describe('push', () => {
  test.each([
    ['with a list of its own', [], 'listed'],
    ['without one', ['no-referrers'], 'tag'],
  ] as const)('recreates it all in a registry %s; a second push sends nothing', async (_, quirks, by) => {
    const registry = await started({ quirks: [...quirks] })
    const receipt = await push(whole, registry.host, into)
    expectShape('receipt', receipt)
    expect(receipt.complete).toBe(true)
    const expected = (outcome: string): Record<string, string> =>
      Object.fromEntries(EVERYTHING.map((name) => [name, `${outcome} ${/\./.test(name) ? 'tag' : by}`]))
    expect(outcomes(receipt)).toEqual(expected('uploaded'))
    // With what a client here would ask with.
    const repository = makeClient().repository(registry.host, 'app')
    const listed = await repository.referrers(all.index.descriptor.digest)
    expect(listed.map(({ digest }) => digest)).toEqual([all.sigstore.descriptor.digest])
    expect(stored(registry, sigTag())).toBe(all.sig.descriptor.digest)
    // One signature, and one list, for both of the image's names.
    const puts = registry.requests.filter(({ method }) => method === 'PUT').map(({ path }) => path)
    expect(puts.filter((path) => path.endsWith(sigTag()))).toHaveLength(1)

    registry.requests.splice(0)
    const again = await push(whole, registry.host, { ...into, verifyTarget: true })
    expect(outcomes(again)).toEqual(expected('present-read-back'))
    expect(registry.requests.every(({ method }) => method === 'GET' || method === 'HEAD')).toBe(true)
  })

  test('puts signatures before tags, so that whoever finds an image finds them', async () => {
    const registry = await started()
    await push(whole, registry.host, into)
    const puts = registry.requests
      .filter(({ method, path }) => method === 'PUT' && path.includes('/manifests/'))
      .map(({ path }) => path.slice(path.lastIndexOf('/') + 1))
    expect(puts.indexOf('1')).toBeGreaterThan(puts.indexOf(sigTag()))
    expect(puts.indexOf('1')).toBeGreaterThan(puts.indexOf(all.sigOfSbom.descriptor.digest))
    // What is referred to comes first.
    const places = [all.index, all.sbom, all.sigOfSbom].map(({ descriptor }) =>
      puts.indexOf(descriptor.digest),
    )
    expect(places).toEqual(places.toSorted((a, b) => a - b))
  })

  test('leaves behind what refers to nothing in the target, unless the source’s index is put', async () => {
    const registry = await started({ sparseIndexes: true })
    const receipt = await push(part, registry.host, into)
    expect(receipt.complete).toBe(true)
    expect(outcomes(receipt)).toEqual({
      'sigOfAmd64 → amd64 .sig': 'uploaded tag',
      'sig → index .sig': 'not-delivered',
      'att → index .att': 'not-delivered',
      'sigstore → index': 'not-delivered',
    })
    expect(stored(registry, sigTag())).toBeUndefined()
    const sparse = await push(part, registry.host, { ...into, sparseIndex: true })
    expect(outcomes(sparse)).toMatchObject({
      'sig → index .sig': 'uploaded tag',
      'sigstore → index': 'uploaded listed',
    })
    expect(stored(registry, sigTag())).toBe(all.sig.descriptor.digest)

    // Where the index is refused, nothing would be signed.
    const refusing = await started()
    const { error, receipt: partial } = await failing(part, refusing.host, { sparseIndex: true })
    expect(error.message).toContain('does not accept the source index')
    expect(outcomes(partial!)).toMatchObject({
      'sig → index .sig': 'not-delivered',
      'sigOfAmd64 → amd64 .sig': 'uploaded tag',
    })
    expect(stored(refusing, sigTag())).toBeUndefined()
  })

  test('puts what is asked for', async () => {
    const registry = await started()
    const none = await push(whole, registry.host, { ...into, referrers: 'none' })
    expect(new Set(Object.values(outcomes(none)))).toEqual(new Set(['left-out']))
    expect(registry.store.tags('app')).toEqual(['1', 'latest'])
    const signatures = await push(whole, registry.host, { ...into, referrers: 'signatures' })
    expect(outcomes(signatures)).toMatchObject({
      'sig → index .sig': 'uploaded tag',
      'att → index .att': 'left-out',
      'sbom → arm64': 'left-out',
      // Its subject is left out.
      'sigOfSbom → sbom': 'not-delivered',
    })
  })

  test('is planned with it', async () => {
    const registry = await started()
    const states = async (): Promise<(string | undefined)[]> => {
      const planned = await planPush(whole, registry.host, into)
      expectShape('push', { dryRun: true, ...planned })
      return [...new Set(planned.images.flatMap(({ referrers = [] }) => referrers.map(({ state }) => state)))]
    }
    expect(await states()).toEqual(['to-send'])
    expect(registry.requests.every(({ method }) => method === 'HEAD')).toBe(true)
    await push(whole, registry.host, into)
    expect(await states()).toEqual(['present'])
    const other = cosignManifest([simpleSigning(all.index.descriptor.digest, 'of ours')])
    seedRegistry(registry.store, `app:${sigTag()}`, other)
    expect(new Set(await states())).toEqual(new Set(['present', 'to-merge']))
    seedRegistry(registry.store, `app:${sigTag()}`, all.arm64)
    expect(new Set(await states())).toEqual(new Set(['present', 'taken']))
  })
})

describe('a tag of cosign’s that is taken', () => {
  test('gets what it lacks, and keeps what it has; --move-tags is not needed', async () => {
    const registry = await started()
    const { digest } = all.index.descriptor
    const ours = cosignManifest([simpleSigning(digest, 'by our own key')])
    seedRegistry(registry.store, `app:${sigTag()}`, ours)
    const receipt = await push(whole, registry.host, into)
    const merged = parseManifest(registry.store.manifest('app', sigTag())!.bytes, 'merged')
    if (merged.kind !== 'manifest') throw new Error('it is an index')
    expect(merged.layers).toEqual([...ours.layers, ...all.sig.layers].map(({ descriptor }) => descriptor))
    const entry = receipt.images[0]?.referrers?.find(({ tag }) => tag === sigTag())
    expect(entry).toMatchObject({ outcome: 'uploaded', foundBy: 'tag', mergedInto: merged.digest })
    // A second push finds it there.
    registry.requests.splice(0)
    await push(whole, registry.host, into)
    expect(registry.requests.some(({ method }) => method === 'PUT')).toBe(false)
  })

  test.each([
    ['an image', () => all.arm64],
    ['an index', () => all.index],
  ])('by %s is left as it is: that is told at the end, and the images are in place', async (_, built) => {
    const registry = await started()
    seedRegistry(registry.store, `app:${sigTag()}`, built())
    const { error, receipt, events } = await failing(whole, registry.host)
    expect(error.code).toBe('INCOMPLETE')
    expect(error.exitCode).toBe(6)
    expect(error.message).toContain('1 referrer of images')
    expect(error.problems).toEqual([
      expect.objectContaining({
        message: expect.stringMatching(/^signatures \([0-9a-f]{12}\): /) as string,
        code: 'REGISTRY',
      }),
    ])
    expect(error.problems[0]?.message).toContain('cannot be added to: it is ')
    expect(hintOf(error)).toContain('--referrers none')
    expect(stored(registry, sigTag())).toBe(built().descriptor.digest)
    expect(receipt).toMatchObject({ complete: false })
    expect(receipt?.images.map(({ tag }) => tag.state)).toEqual(['created', 'created'])
    expect(outcomes(receipt!)).toMatchObject({
      'sig → index .sig': 'refused',
      'sbom → arm64': 'uploaded listed',
    })
    expect(
      events.some((event) => event.type === 'failed' && /^signatures \([0-9a-f]{12}\) of /.test(event.name)),
    ).toBe(true)
  })
})

describe('what a registry does not take', () => {
  test('artifacts: the images are tagged, the error names each, and the way out works', async () => {
    const registry = await started({ quirks: ['artifacts-refused'] })
    const { error, receipt } = await failing(whole, registry.host)
    expect(error.code).toBe('INCOMPLETE')
    expect(error.message).toContain('3 referrers of images')
    expect(error.problems[0]?.message).toContain('unknown media type')
    expect(registry.store.tags('app')).toContain('1')
    expect(outcomes(receipt!)).toMatchObject({
      'sig → index .sig': 'uploaded tag',
      'sigstore → index': 'refused',
    })
    const without = await push(whole, registry.host, { ...into, referrers: 'none' })
    expect(without.complete).toBe(true)
  })

  test('a blob of one: the image is tagged; the same push again brings what was missing', async () => {
    const { digest } = all.sbom.layers[0]!.descriptor
    let isRefusing = true
    const registry = await started({
      front: async ({ method, query }) =>
        isRefusing && method === 'PUT' && query.get('digest') === digest
          ? { status: 413, headers: { 'Content-Length': '0' } }
          : undefined,
    })
    const { error, receipt } = await failing(whole, registry.host)
    expect(error.code).toBe('INCOMPLETE')
    expect(outcomes(receipt!)).toMatchObject({
      'sbom → arm64': 'refused',
      'sigstore → index': 'uploaded listed',
    })
    expect(receipt?.images.every(({ tag }) => tag.state === 'created')).toBe(true)
    isRefusing = false
    expect((await push(whole, registry.host, into)).complete).toBe(true)
    expect(stored(registry, all.sbom.descriptor.digest)).toBeDefined()
  })

  test('an image: what refers to it is not put, either', async () => {
    const layer = all.arm64.layers[0]!.descriptor.digest
    const registry = await started({
      front: async ({ method, query }) =>
        method === 'PUT' && query.get('digest') === layer
          ? { status: 413, headers: { 'Content-Length': '0' } }
          : undefined,
    })
    await failing(whole, registry.host)
    expect(registry.store.tags('app')).toEqual([])
    expect(stored(registry, all.sigstore.descriptor.digest)).toBeUndefined()
  })

  test('content that it has dropped meanwhile is sent again', async () => {
    const registry = await started()
    const { digest } = all.sbom.layers[0]!.descriptor
    let isDropped = false
    const dropping = await started({
      store: registry.store,
      front: async ({ method, path }) => {
        if (!isDropped && method === 'PUT' && path.endsWith(all.sbom.descriptor.digest)) {
          isDropped = true
          registry.store.deleteBlob('app', digest)
        }
        return undefined
      },
    })
    expect((await push(whole, dropping.host, into)).complete).toBe(true)
    expect(isDropped).toBe(true)
    expect(registry.store.blob('app', digest)).toBeDefined()
  })
})
