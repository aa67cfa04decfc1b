import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SIMPLE_SIGNING } from '../../../src/oci/cosign.ts'
import { digestOf, type Digest } from '../../../src/oci/digest.ts'
import { OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts'
import { addCosignSignatures, findCosignSignatures } from '../../../src/push/image-signatures/cosign.ts'
import type { EmbeddedRegistry } from '../../support/registry/registry.ts'
import { simpleSigningPayload } from '../../../src/trust/image-signature/cosign.ts'
import { findBundleSignature } from '../../../src/push/image-signatures/sigstore-bundle.ts'
import { signDigest } from '../../../src/trust/image-signature/sigstore-bundle.ts'
import { newSigner } from '../../support/build-bundle.ts'
import {
  cluster,
  failure,
  packSample,
  repositoryOf,
  signatureManifest,
  signatureTag,
  signedClaims,
  signedPush,
  target,
  type SampleBundle,
} from './signing.ts'

let sample: SampleBundle
beforeAll(async () => {
  sample = await packSample()
})
afterAll(() => sample[Symbol.asyncDispose]())

const index = (): Digest => sample.index.descriptor.digest
const reference = (): string => `${sample.source.host}/team/app:1`
const SIMPLE = 'application/vnd.dev.cosign.simplesigning.v1+json'
const SIGNATURE = 'dev.cosignproject.cosign/signature'

/** Puts something under the tag for the index's signatures, as anybody may who can write there. */
function plant({ store }: EmbeddedRegistry, document: object | string, mediaType = OCI_MANIFEST): Digest {
  const bytes = Buffer.from(typeof document === 'string' ? document : JSON.stringify(document))
  return store.putManifest('team/app', bytes, mediaType, signatureTag(index()))
}

function blob({ store }: EmbeddedRegistry, bytes: Uint8Array): { digest: Digest; size: number } {
  return { digest: store.putBlob('team/app', bytes), size: bytes.length }
}

function manifest(registry: EmbeddedRegistry, layers: readonly object[], more: object = {}): object {
  const config = {
    mediaType: 'application/vnd.oci.image.config.v1+json',
    ...blob(registry, Buffer.from('{}')),
  }
  return { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers, ...more }
}

describe('under the tag for signatures, instead of them', () => {
  const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: digestOf('x'), size: 1 }
  it.each<[string, (registry: EmbeddedRegistry) => Digest, string]>([
    [
      'an index',
      (registry) => plant(registry, { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }, OCI_INDEX),
      'it is an index of images',
    ],
    [
      'an image [attack: sig-tag-is-image]',
      (registry) => plant(registry, manifest(registry, [layer])),
      'it is an image, with layers of files',
    ],
    ['no JSON', (registry) => plant(registry, '\u0000\u0001 nonsense'), 'is a damaged manifest'],
    [
      'a document of two kinds',
      (registry) => plant(registry, manifest(registry, [], { manifests: [] })),
      'is a damaged manifest',
    ],
    [
      'a manifest of more than 8 MiB',
      (registry) => plant(registry, manifest(registry, [], { annotations: { much: 'x'.repeat(9 << 20) } })),
      'is a damaged manifest',
    ],
    [
      'more layers than anybody reads',
      (registry) =>
        plant(
          registry,
          manifest(
            registry,
            Array.from({ length: 1000 }, (_, i) => ({
              mediaType: SIMPLE_SIGNING,
              ...blob(registry, Buffer.from(String(i))),
            })),
          ),
        ),
      'already has 1000 layers',
    ],
  ])('%s: it stays', async (_name, lay, message) => {
    const registry = await target()
    const planted = lay(registry)
    const repository = repositoryOf(registry)
    const error = await failure(
      findCosignSignatures(repository, index(), [reference()], cluster.publicKey).then(async () =>
        addCosignSignatures(repository, index(), [reference()], cluster),
      ),
    )
    // What a registry holds is no fault of the bundle.
    expect(error.code).toBe('REGISTRY')
    expect(error.message).toContain(`${registry.host}/team/app:${signatureTag(index())}`)
    expect(error.message).toContain(message)
    expect(registry.store.manifest('team/app', signatureTag(index()))?.digest).toBe(planted)
  })

  it('the image gets no tag, and the others do', async () => {
    const registry = await target()
    const planted = plant(registry, manifest(registry, [layer]))
    const error = await failure(signedPush(sample.bundle, registry))
    expect({ code: error.code, exitCode: error.exitCode }).toEqual({ code: 'INCOMPLETE', exitCode: 6 })
    expect(error.problems.map(({ entry, code }) => [entry, code])).toEqual([[reference(), 'REGISTRY']])
    expect(registry.store.manifest('team/app', signatureTag(index()))?.digest).toBe(planted)
    expect(registry.store.tags('team/app')).not.toContain('1')
    expect(registry.store.tags('team/app')).toContain('2')
  })
})

describe('layers that are no signature of ours', () => {
  const payload = (): Buffer => simpleSigningPayload({ reference: reference(), digest: index() })

  it.each<[string, (registry: EmbeddedRegistry) => Promise<object> | object]>([
    ['without a signature', (registry) => ({ mediaType: SIMPLE, ...blob(registry, payload()) })],
    [
      'with one that is nonsense',
      (registry) => ({
        mediaType: SIMPLE,
        ...blob(registry, payload()),
        annotations: { [SIGNATURE]: 'AAAA' },
      }),
    ],
    [
      'with one that is no base64',
      (registry) => ({ mediaType: SIMPLE, ...blob(registry, payload()), annotations: { [SIGNATURE]: '*' } }),
    ],
    [
      'with one by another key',
      async (registry) => ({
        mediaType: SIMPLE,
        ...blob(registry, payload()),
        annotations: { [SIGNATURE]: await signature(payload(), newSigner()) },
      }),
    ],
    [
      'with a good one, over another image',
      async (registry) => {
        const other = simpleSigningPayload({ reference: reference(), digest: digestOf('other') })
        return {
          mediaType: SIMPLE,
          ...blob(registry, other),
          annotations: { [SIGNATURE]: await signature(other, cluster) },
        }
      },
    ],
    [
      'with a good one, under another name',
      async (registry) => {
        const other = simpleSigningPayload({ reference: 'docker.io/library/other:1', digest: index() })
        return {
          mediaType: SIMPLE,
          ...blob(registry, other),
          annotations: { [SIGNATURE]: await signature(other, cluster) },
        }
      },
    ],
    [
      'with a good one, over a type that is no payload',
      async (registry) => {
        const other = Buffer.from('{"critical":{},"optional":null}')
        return {
          mediaType: SIMPLE,
          ...blob(registry, other),
          annotations: { [SIGNATURE]: await signature(other, cluster) },
        }
      },
    ],
    [
      'that say another length than the blob has',
      async (registry) => ({
        mediaType: SIMPLE,
        digest: blob(registry, Buffer.from('something else')).digest,
        size: 5,
        annotations: { [SIGNATURE]: await signature(payload(), cluster) },
      }),
    ],
    [
      'that are said to be huge',
      async (registry) => ({
        mediaType: SIMPLE,
        digest: blob(registry, Buffer.from('small')).digest,
        size: 2 ** 40,
        annotations: { [SIGNATURE]: await signature(payload(), cluster) },
      }),
    ],
  ])('%s are kept, and count for nothing', async (_name, layerOf) => {
    const registry = await target()
    const layer = await layerOf(registry)
    plant(registry, manifest(registry, [layer], { annotations: { kept: 'yes' } }))
    const repository = repositoryOf(registry)
    const find = (): Promise<Set<string>> =>
      findCosignSignatures(repository, index(), [reference()], cluster.publicKey)
    expect(await find()).toEqual(new Set())
    await addCosignSignatures(repository, index(), [reference()], cluster)
    expect(await find()).toEqual(new Set([reference()]))
    const found = signatureManifest(registry, 'team/app', index())
    expect(found.layers).toEqual([layer, expect.objectContaining({ mediaType: SIMPLE })])
    expect(found.annotations).toEqual({ kept: 'yes' })
  })

  it('a signature by the key that was made elsewhere, with more in it, suffices', async () => {
    const registry = await target()
    const text = payload().toString().replace('"optional":null', '"optional":{"creator":"cosign"}')
    const layer = {
      mediaType: SIMPLE,
      ...blob(registry, Buffer.from(text)),
      annotations: { [SIGNATURE]: await signature(Buffer.from(text), cluster) },
    }
    plant(registry, manifest(registry, [layer]))
    const found = await findCosignSignatures(
      repositoryOf(registry),
      index(),
      [reference()],
      cluster.publicKey,
    )
    expect(found).toEqual(new Set([reference()]))
  })

  it('a signature whose payload the registry has lost is completed, and not added again', async () => {
    const registry = await target()
    await signedPush(sample.bundle, registry)
    const before = signatureManifest(registry, 'team/app', index())
    const lost = before.layers[0]!.digest
    const damaged = await target({
      store: registry.store,
      front: async ({ method, path }) =>
        (method === 'GET' || method === 'HEAD') && path.endsWith(`/blobs/${lost}`)
          ? { status: 404, headers: { 'Content-Length': '0' } }
          : undefined,
    })
    await signedPush(sample.bundle, damaged)
    expect(
      damaged.requests.some(({ method, path }) => method === 'POST' && path.includes('/blobs/uploads/')),
    ).toBe(true)
    expect(signatureManifest(registry, 'team/app', index()).digest).toBe(before.digest)
  })

  it('when others write the tag at the same time, nothing is lost', async () => {
    let planted = 0
    const registry = await target({
      front: async ({ method, path }) => {
        // Behind our back, between our writing and our reading back.
        if (method === 'GET' && path.endsWith(signatureTag(index())) && planted === 1) {
          planted = 2
          plant(
            registry,
            manifest(registry, [{ mediaType: SIMPLE, ...blob(registry, Buffer.from('theirs')) }]),
          )
        }
        if (method === 'PUT' && path.endsWith(signatureTag(index())) && planted === 0) planted = 1
        return undefined
      },
    })
    // It was there before us, and whoever wrote at the same time has not seen it.
    const before = { mediaType: SIMPLE, ...blob(registry, Buffer.from('before')) }
    plant(registry, manifest(registry, [before]))
    await signedPush(sample.bundle, registry)
    expect(await signedClaims(registry, 'team/app', index())).toEqual([reference()])
    const digests = signatureManifest(registry, 'team/app', index()).layers.map(({ digest }) => digest)
    expect(digests).toContain(digestOf('theirs'))
    expect(digests).toContain(digestOf('before'))
  })
})

describe('referrers that are no signature of ours', () => {
  const type = 'application/vnd.dev.sigstore.bundle.v0.3+json'
  const refer = (registry: EmbeddedRegistry, json: Uint8Array): void => {
    const layer = { mediaType: type, ...blob(registry, json) }
    const subject = { mediaType: OCI_INDEX, digest: index(), size: 1 }
    const document = manifest(registry, [layer], { artifactType: type, subject })
    registry.store.putManifest('team/app', Buffer.from(JSON.stringify(document)), OCI_MANIFEST)
  }
  const find = (registry: EmbeddedRegistry): Promise<boolean> =>
    findBundleSignature(repositoryOf(registry), index(), cluster.publicKey)

  it.each<[string, () => Promise<Uint8Array>]>([
    ['nonsense', async () => Buffer.from('{"dsseEnvelope":1}')],
    ['a list', async () => Buffer.from('[]')],
    ['more than 1 MiB', async () => Buffer.alloc((1 << 20) + 1, 0x20)],
    ['a signature by another key', async () => signDigest(index(), newSigner())],
    ['a signature of another digest', async () => signDigest(digestOf('other'), cluster)],
  ])('%s counts for nothing', async (_name, json) => {
    const registry = await target()
    refer(registry, await json())
    expect(await find(registry)).toBe(false)
    refer(registry, await signDigest(index(), cluster))
    expect(await find(registry)).toBe(true)
  })
})

async function signature(bytes: Buffer, { sign }: typeof cluster): Promise<string> {
  return Buffer.from(await sign(bytes)).toString('base64')
}
