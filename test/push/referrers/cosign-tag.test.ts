import { expect, test } from 'vitest'
import { AMD64, cosignManifest, image, seedRegistry, simpleSigning } from '../../../fixtures/images/index.ts'
import { contentOf, type Content } from '../../../fixtures/images/content.ts'
import { cosignTag } from '../../../src/oci/cosign.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { parseManifest, type Manifest } from '../../../src/oci/manifest.ts'
import type { Repository } from '../../../src/registry/repository.ts'
import type { EmbeddedRegistry, EmbeddedRegistryOptions } from '../../support/registry/registry.ts'
import { addToCosignTag } from '../../../src/push/cosign-tag.ts'
import { failureOf, makeClient } from '../../support/client.ts'
import { started } from '../../support/attached.ts'

const SUBJECT = digestOf('the image')
const TAG = cosignTag(SUBJECT, 'sig')
const by = (who: string): Content => simpleSigning(SUBJECT, `by ${who}`)

interface Place {
  registry: EmbeddedRegistry
  repository: Repository
  add: (...layers: Content[]) => Promise<string>
  there: () => Manifest
  configThere: () => Promise<{ rootfs: { diff_ids: string[] }; history: unknown[]; created?: string }>
}

async function place(options: EmbeddedRegistryOptions = {}): Promise<Place> {
  const registry = await started(options)
  const repository = makeClient().repository(registry.host, 'app')
  const there = (): Manifest => parseManifest(registry.store.manifest('app', TAG)!.bytes, TAG) as Manifest
  return {
    registry,
    repository,
    there,
    add: async (...layers) => {
      for (const { bytes } of layers) registry.store.putBlob('app', bytes)
      const descriptors = layers.map(({ descriptor }) => descriptor)
      return addToCosignTag(repository, TAG, descriptors)
    },
    configThere: async () => {
      const bytes = await repository.fetchSmallBlob(there().config, 10_000)
      return JSON.parse(bytes.toString()) as Awaited<ReturnType<Place['configThere']>>
    },
  }
}

const signatures = ({ layers }: Manifest): unknown[] =>
  layers.map(({ annotations }) => annotations?.['dev.cosignproject.cosign/signature'])

test('a free tag gets a manifest as cosign writes one', async () => {
  const { add, there, configThere } = await place()
  expect(await add(by('one'))).toBe(there().digest)
  expect(signatures(there())).toEqual(['by one'])
  expect((await configThere()).rootfs.diff_ids).toEqual([by('one').descriptor.digest])
})

test('what is there stays, in its order, with the manifest’s and the config’s other fields', async () => {
  const { registry, add, there, configThere } = await place()
  const first = cosignManifest([by('one'), by('two')])
  const document = JSON.parse(Buffer.from(first.bytes).toString()) as object
  const before = Buffer.from(JSON.stringify({ ...document, annotations: { kept: 'yes' } }))
  seedRegistry(registry.store, 'app', first)
  registry.store.putManifest('app', before, first.descriptor.mediaType, TAG)
  await add(by('three'))
  expect(signatures(there())).toEqual(['by one', 'by two', 'by three'])
  expect(there().annotations).toEqual({ kept: 'yes' })
  const config = await configThere()
  expect(config.rootfs.diff_ids).toHaveLength(3)
  expect(config.history).toHaveLength(3)
  expect(config.created).toBe('0001-01-01T00:00:00Z')
})

test('nothing is written where nothing is lacking; one payload signed twice are two', async () => {
  const { registry, add, there } = await place()
  await add(by('one'), by('two'))
  const { digest } = there()
  registry.requests.splice(0)
  expect(await add(by('two'), by('one'))).toBe(digest)
  expect(registry.requests.every(({ method }) => method === 'GET')).toBe(true)
})

test('a config that is none of an image is left as it is', async () => {
  const { registry, add, there } = await place()
  const config = contentOf('application/vnd.oci.empty.v1+json', Buffer.from('{}'))
  const { assemble } = await import('../../../fixtures/images/index.ts')
  const { OCI_MANIFEST } = await import('../../../src/oci/media-types.ts')
  const built = assemble({ mediaType: OCI_MANIFEST, config, layers: [by('one')] })
  seedRegistry(registry.store, `app:${TAG}`, built)
  await add(by('two'))
  expect(there().config).toEqual(config.descriptor)
  expect(there().layers).toHaveLength(2)
})

test('what somebody else adds at the same time is not lost, and neither is ours', async () => {
  let rivals = 2
  const rival = async (registry: EmbeddedRegistry): Promise<void> => {
    rivals -= 1
    const theirs = cosignManifest([by(`rival ${rivals}`)])
    seedRegistry(registry.store, `app:${TAG}`, theirs)
  }
  const { registry, add, there } = await place({
    front: async ({ method, path }) => {
      // They write behind ours, without having read it.
      if (method === 'GET' && path.endsWith(TAG) && rivals > 0) await rival(registry)
      return undefined
    },
  })
  await add(by('us'))
  expect(signatures(there())).toEqual(['by rival 0', 'by rival 1', 'by us'])
})

test('a tag that is written again and again is given up in the end', async () => {
  let count = 0
  const { registry, add } = await place({
    front: async ({ method, path }) => {
      if (method !== 'GET' || !path.endsWith(TAG)) return undefined
      count += 1
      seedRegistry(registry.store, `app:${TAG}`, cosignManifest([by(`rival ${count}`)]))
      return undefined
    },
  })
  const error = await failureOf(add(by('us')), 'REGISTRY')
  expect(error.message).toContain('others keep writing it')
  expect(count).toBeLessThan(10)
})

test('[attack: sig-tag-is-image] what is no signature is not added to', async () => {
  const { registry, add } = await place()
  const other = await image('other', AMD64)
  seedRegistry(registry.store, `app:${TAG}`, other)
  const error = await failureOf(add(by('us')), 'REGISTRY')
  expect(error.message).toContain(`${registry.host}/app:${TAG} cannot be added to: it is an image`)
  expect(registry.store.manifest('app', TAG)?.digest).toBe(other.descriptor.digest)
})

test('an SBOM is not put beside another one, because cosign takes one alone for an SBOM', async () => {
  const { registry, repository } = await place()
  const tag = cosignTag(SUBJECT, 'sbom')
  const [one, two] = ['one', 'two'].map((text) => contentOf('text/spdx+json', Buffer.from(text)))
  seedRegistry(registry.store, `app:${tag}`, cosignManifest([one!]))
  const before = registry.store.manifest('app', tag)?.digest
  expect(await addToCosignTag(repository, tag, [one!.descriptor])).toBe(before)
  const error = await failureOf(addToCosignTag(repository, tag, [two!.descriptor]), 'REGISTRY')
  expect(error.message).toContain('it is another SBOM')
  expect(registry.store.manifest('app', tag)?.digest).toBe(before)
})
