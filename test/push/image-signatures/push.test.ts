import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { pack, planPush, push, type PushOptions, type Receipt } from '../../../src/index.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { MemoryStore } from '../../support/registry/memory-store.ts'
import { newSigner, signer, temporaryFolder } from '../../support/build-bundle.ts'
import { expectShape } from '../../support/schemas.ts'
import { seedSigned, signedImage } from '../../support/attached.ts'
import {
  cluster,
  failure,
  packSample,
  signatureManifest,
  signatureTag,
  signedClaims,
  signedPush,
  signedStatements,
  target,
  type SampleBundle,
} from './signing.ts'
import { hintOf } from '../../../src/cli/words/hints.ts'

let sample: SampleBundle
beforeAll(async () => {
  sample = await packSample()
})
afterAll(() => sample[Symbol.asyncDispose]())

const all = (): string[] => [
  sample.index.descriptor.digest,
  ...sample.index.children.map((one) => one.descriptor.digest),
]
const digests = () => all() as `sha256:${string}`[]
const reference = (tag: number): string => `${sample.source.host}/team/app:${tag}`

describe('push with signImages', () => {
  it('signs the index and every platform for each name that they have', async () => {
    const registry = await target()
    const receipt = await signedPush(sample.bundle, registry)
    const [index, amd64, arm64] = digests()
    expect(await signedClaims(registry, 'team/app', index!)).toEqual([reference(1)])
    expect((await signedClaims(registry, 'team/app', amd64!)).toSorted()).toEqual([
      reference(1),
      reference(2),
    ])
    expect(await signedClaims(registry, 'team/app', arm64!)).toEqual([reference(1)])
    const config = signatureManifest(registry, 'team/app', amd64!).config
    expect(config.mediaType).toBe('application/vnd.oci.image.config.v1+json')

    expectShape('receipt', receipt)
    const { fingerprint: keyFingerprint } = cluster.publicKey
    expect(receipt.imageSigning).toEqual({ keyFingerprint, formats: ['cosign'] })
    expect(receipt.images.find(({ source }) => source === reference(2))?.imageSignatures).toEqual([
      { digest: amd64, format: 'cosign', reference: reference(2), keyFingerprint, outcome: 'signed' },
    ])
    const first = receipt.images.find(({ source }) => source === reference(1))?.imageSignatures
    expect(first?.map(({ digest }) => digest).toSorted()).toEqual(all().toSorted())
  })

  it('makes both layouts where an image brings a Sigstore bundle along, which cosign 3 alone looks at then', async () => {
    const store = new MemoryStore()
    seedSigned(store, 'team/app', await signedImage())
    const source = await target({ store })
    const bundle = join(await temporaryFolder(), 'b.tar')
    await pack({ images: [`${source.host}/team/app:1`], output: bundle, key: signer })
    const formatsOf = ({ images: [one] }: Receipt): string[] => [
      ...new Set(one?.imageSignatures?.map(({ format }) => format)),
    ]
    const warnings: string[] = []
    const onEvent: PushOptions['onEvent'] = (event) => {
      if (event.type === 'warning') warnings.push(event.message)
    }
    expect(formatsOf(await signedPush(bundle, await target(), { onEvent }))).toEqual([
      'cosign',
      'sigstore-bundle',
    ])
    expect(formatsOf(await signedPush(bundle, await target(), { onEvent, referrers: 'none' }))).toEqual([
      'cosign',
    ])
    expect(warnings).toEqual([])
    const signImages = { key: cluster, formats: ['cosign'] as const }
    expect(formatsOf(await signedPush(bundle, await target(), { onEvent, signImages }))).toEqual(['cosign'])
    expect(warnings).toEqual([expect.stringContaining('cosign 3 ignores')])
  })

  it('puts signatures behind all manifests, and before any tag', async () => {
    const registry = await target()
    await signedPush(sample.bundle, registry, {
      signImages: { key: cluster, formats: ['cosign', 'sigstore-bundle'] },
    })
    const puts = registry.requests
      .filter(({ method, path }) => method === 'PUT' && path.includes('/manifests/'))
      .map(({ path }) => path.split('/manifests/')[1]!)
    const last = (test: (ref: string) => boolean): number => puts.findLastIndex(test)
    const first = (test: (ref: string) => boolean): number => puts.findIndex(test)
    const isContent = (ref: string): boolean => all().includes(ref)
    const isTag = (ref: string): boolean => ref === '1' || ref === '2'
    expect(first((ref) => !isContent(ref) && !isTag(ref))).toBeGreaterThan(last(isContent))
    expect(first(isTag)).toBeGreaterThan(last((ref) => !isTag(ref)))
    expect(puts.filter((ref) => ref.endsWith('.sig'))).toHaveLength(3)
  })

  it('as Sigstore bundles: one for each digest, that refers to it', async () => {
    const registry = await target()
    await signedPush(sample.bundle, registry, { signImages: { key: cluster, formats: ['sigstore-bundle'] } })
    for (const digest of digests()) {
      const [found, ...others] = await signedStatements(registry, 'team/app', digest)
      expect(others).toEqual([])
      expect(found?.manifest.artifactType).toBe('application/vnd.dev.sigstore.bundle.v0.3+json')
      expect(found?.manifest.subject?.digest).toBe(digest)
      expect(found?.manifest.annotations).toMatchObject({
        'dev.sigstore.bundle.content': 'dsse-envelope',
        'dev.sigstore.bundle.predicateType': 'https://sigstore.dev/cosign/sign/v1',
      })
      expect(found?.statement).toMatchObject({
        _type: 'https://in-toto.io/Statement/v1',
        predicateType: 'https://sigstore.dev/cosign/sign/v1',
        subject: [{ digest: { sha256: digest.slice(7) } }],
      })
    }
    expect(registry.store.tags('team/app')?.filter((tag) => tag.endsWith('.sig'))).toEqual([])
    // docker-registry 2.8 loses a blob that comes twice at one moment.
    const empty = digestOf('{}')
    const uploads = registry.requests.filter(({ query, status }) => query.digest === empty && status === 201)
    expect(uploads.map(({ method }) => method)).toHaveLength(1)
  })

  it('as Sigstore bundles, in a registry that lists no referrers: by the tag that stands in for the list', async () => {
    const registry = await target({ quirks: ['no-referrers'] })
    const formats = ['sigstore-bundle'] as const
    await signedPush(sample.bundle, registry, { signImages: { key: cluster, formats } })
    for (const digest of digests()) {
      const list = registry.store.manifest('team/app', digest.replace(':', '-'))
      const { manifests } = JSON.parse(Buffer.from(list!.bytes).toString()) as {
        manifests: { artifactType: string }[]
      }
      expect(manifests.map(({ artifactType }) => artifactType)).toEqual([
        'application/vnd.dev.sigstore.bundle.v0.3+json',
      ])
    }
    const before = registry.requests.length
    const again = await signedPush(sample.bundle, registry, { signImages: { key: cluster, formats } })
    expect(outcomes(again)).toEqual(new Set(['present']))
    expect(registry.requests.slice(before).every(({ method }) => method === 'GET' || method === 'HEAD')).toBe(
      true,
    )
  })

  it('adds nothing where its signatures are there already, and says so in plan and receipt', async () => {
    const registry = await target()
    const signImages = { key: cluster, formats: ['cosign', 'sigstore-bundle'] as const }
    const options = { keys: [signer.publicKey], path: 'strip-host', signImages } as const
    const planned = async (): Promise<Set<string>> => {
      const plan = await planPush(sample.bundle, registry.host, options)
      expectShape('push', { dryRun: true, ...plan })
      expect(plan.imageSigning).toEqual({
        keyFingerprint: cluster.publicKey.fingerprint,
        formats: signImages.formats,
      })
      return new Set(
        plan.images.flatMap(({ imageSignatures = [] }) => imageSignatures.map(({ state }) => state)),
      )
    }
    expect(await planned()).toEqual(new Set(['to-sign']))
    expect(registry.store.repositories()).toEqual([])
    expect(outcomes(await signedPush(sample.bundle, registry, { signImages }))).toEqual(new Set(['signed']))
    expect(await planned()).toEqual(new Set(['present']))
    const before = registry.requests.length
    expect(outcomes(await signedPush(sample.bundle, registry, { signImages }))).toEqual(new Set(['present']))
    expect(registry.requests.slice(before).every(({ method }) => method === 'GET' || method === 'HEAD')).toBe(
      true,
    )
  })

  it('signs what was pushed before without it', async () => {
    const registry = await target()
    await signedPush(sample.bundle, registry, { signImages: undefined })
    const receipt = await signedPush(sample.bundle, registry)
    expect(outcomes(receipt)).toEqual(new Set(['signed']))
    expect(receipt.images.every(({ tag }) => tag.state === 'unchanged')).toBe(true)
  })

  it('keeps the signatures of others, in front of its own', async () => {
    const registry = await target()
    const other = newSigner('other.pub')
    await signedPush(sample.bundle, registry, { signImages: { key: other } })
    const [index] = digests()
    const theirs = signatureManifest(registry, 'team/app', index!).layers
    expect(outcomes(await signedPush(sample.bundle, registry))).toEqual(new Set(['signed']))
    const layers = signatureManifest(registry, 'team/app', index!).layers
    expect(layers.slice(0, 1)).toEqual(theirs)
    expect(layers).toHaveLength(2)
    expect(await signedClaims(registry, 'team/app', index!, other.publicKey)).toEqual([reference(1)])
    expect(await signedClaims(registry, 'team/app', index!)).toEqual([reference(1)])
    // Each finds its own among them.
    expect(outcomes(await signedPush(sample.bundle, registry, { signImages: { key: other } }))).toEqual(
      new Set(['present']),
    )
    expect(outcomes(await signedPush(sample.bundle, registry))).toEqual(new Set(['present']))
  })

  it('signs a source’s own index before that is tagged, where it is put, too', async () => {
    const registry = await target({ sparseIndexes: true })
    await using part = await packSample()
    const bundle = `${part.bundle}.part.tar`
    const { pack } = await import('../../../src/index.ts')
    await pack({
      images: [`${part.source.host}/team/app:1`],
      platforms: ['linux/amd64'],
      output: bundle,
      key: signer,
    })
    const receipt = await signedPush(bundle, registry, { sparseIndex: true })
    const { digest } = part.index.descriptor
    expect(await signedClaims(registry, 'team/app', digest)).toEqual([`${part.source.host}/team/app:1`])
    expect(receipt.images[0]?.imageSignatures?.map((one) => [one.digest, one.outcome])).toContainEqual([
      digest,
      'signed',
    ])
    const puts = registry.requests
      .filter(({ method }) => method === 'PUT')
      .map(({ path }) => path.split('/manifests/')[1])
    expect(puts.indexOf(signatureTag(digest))).toBeLessThan(puts.indexOf(`airgap-${digest.slice(7, 19)}`))
    expect(puts.indexOf(signatureTag(digest))).toBeGreaterThan(puts.indexOf(digest))
  })

  it('names a reference without a tag by the tag that it gets', async () => {
    const registry = await target()
    const [, , arm64] = digests()
    const { pack } = await import('../../../src/index.ts')
    const bundle = `${sample.bundle}.digest.tar`
    await pack({ images: [`${sample.source.host}/team/app@${arm64}`], output: bundle, key: signer })
    await signedPush(bundle, registry)
    expect(await signedClaims(registry, 'team/app', arm64!)).toEqual([
      `${sample.source.host}/team/app:airgap-${arm64!.slice(7, 19)}`,
    ])
  })
})

describe('push with signImages refuses, before anything is asked of the registry,', () => {
  it('a bundle that was not authenticated', async () => {
    const registry = await target()
    const error = await failure(
      push(sample.bundle, registry.host, { unauthenticated: true, signImages: { key: cluster } }),
    )
    expect({ code: error.code, message: error.message }).toEqual({
      code: 'USAGE',
      message: 'images of a bundle that was not authenticated cannot be signed',
    })
    expect(registry.requests).toEqual([])
  })

  it('the key that the bundle is signed with, and any other that it would be checked with', async () => {
    const registry = await target()
    for (const [key, keys] of [
      [signer, [signer.publicKey]],
      [cluster, [signer.publicKey, cluster.publicKey]],
    ] as const) {
      const error = await failure(signedPush(sample.bundle, registry, { keys, signImages: { key } }))
      expect(error.code).toBe('USAGE')
      expect(error.message).toContain("the bundle's own key")
      expect(error.message).toContain(key.publicKey.fingerprint)
      expect(hintOf(error)).toContain('airgap keygen')
    }
    expect(registry.requests).toEqual([])
  })

  it('an empty list of formats', async () => {
    const registry = await target()
    const error = await failure(
      signedPush(sample.bundle, registry, { signImages: { key: cluster, formats: [] } }),
    )
    expect(error.code).toBe('USAGE')
  })
})

describe('where a signature cannot be put', () => {
  it('the image gets no tag, the others are in place, and the receipt says which', async () => {
    const [index] = digests()
    const registry = await target({
      front: async ({ method, path }) =>
        method === 'PUT' && path.endsWith(signatureTag(index!))
          ? { status: 400, headers: { 'Content-Length': '0' } }
          : undefined,
    })
    const receipts: Receipt[] = []
    const error = await failure(
      signedPush(sample.bundle, registry, { onIncomplete: (receipt) => void receipts.push(receipt) }),
    )
    expect(error.code).toBe('INCOMPLETE')
    expect(error.problems.map(({ entry }) => entry)).toEqual([reference(1)])
    expect(registry.store.tags('team/app')).not.toContain('1')
    const [receipt] = receipts
    expectShape('receipt', receipt)
    expect(receipt?.images.map(({ source, tag }) => [source, tag.state])).toEqual([
      [reference(1), 'not-set'],
      [reference(2), 'created'],
    ])
    const states = receipt?.images.flatMap(({ imageSignatures = [] }) => imageSignatures)
    expect(states?.find(({ digest }) => digest === index)?.outcome).toBe('not-signed')
    // The manifest that both share is signed for the image that is in place.
    expect(await signedClaims(registry, 'team/app', digests()[1]!)).toContain(reference(2))
  })
})

function outcomes({ images }: Receipt): Set<string> {
  return new Set(images.flatMap(({ imageSignatures = [] }) => imageSignatures.map(({ outcome }) => outcome)))
}
