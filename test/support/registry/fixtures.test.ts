import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { extract } from 'tar-stream'
import { expect, test } from 'vitest'
import { digestOf, isDigest } from '../../../src/oci/digest.ts'
import { compareBytes } from '../../../src/oci/json.ts'
import {
  attestationSubject,
  childrenOf,
  parseManifest,
  platformOfConfig,
  type ManifestOrIndex,
} from '../../../src/oci/manifest.ts'
import { DOCKER_LIST, OCI_INDEX } from '../../../src/oci/media-types.ts'
import { formatPlatform } from '../../../src/oci/platform.ts'
import { MemoryStore } from './memory-store.ts'
import * as images from '../../../fixtures/images/index.ts'
import type { Built, BuiltImage } from '../../../fixtures/images/index.ts'

const SHAPES: Record<string, () => Promise<Built>> = {
  'a BuildKit index': () => images.buildkitIndex(),
  'a Docker list': () => images.dockerList(),
  'Windows builds': () => images.windowsIndex(),
  'Arm variants': () => images.armIndex(),
  'a nested index': () => images.nestedIndex(),
  'a single OCI manifest': () => images.singleManifest('oci'),
  'a single Docker manifest': () => images.singleManifest('docker'),
  'an index without mediaType': () => images.umociIndex(),
  'an index with a child without platform': () => images.indexWithPlatformlessChild(),
  'a Helm chart': () => images.helmChart(),
  'a foreign layer': () => images.foreignLayerImage(['http://127.0.0.1:1/layer']),
  'zstd layers': () => images.image('zstd', images.AMD64, { compression: 'zstd', layers: 3 }),
  'plain layers': () => images.image('plain', images.AMD64, { compression: 'none', layers: 2 }),
}

const manifestsOf = (built: Built): BuiltImage[] =>
  built.kind === 'manifest' ? [built] : built.children.flatMap(manifestsOf)

async function readTar(tar: Uint8Array): Promise<Record<string, Buffer>> {
  const files: Record<string, Buffer> = {}
  const reader = extract()
  reader.end(tar)
  for await (const entry of reader) {
    const chunks: Uint8Array[] = []
    for await (const chunk of entry) chunks.push(chunk as Uint8Array)
    if (entry.header.type === 'file') files[entry.header.name] = Buffer.concat(chunks)
  }
  return files
}

function unpacked(bytes: Uint8Array, mediaType: string): Uint8Array {
  if (mediaType.endsWith('gzip')) return gunzipSync(bytes)
  return mediaType.endsWith('zstd') ? zstdDecompressSync(bytes) : bytes
}

/** Everything that a stored document leads to is stored, and is what its descriptor says. */
function walk(store: MemoryStore, repository: string, reference: string): ManifestOrIndex[] {
  const stored = store.manifest(repository, reference)
  if (!stored) throw new Error(`${repository} lacks ${reference}`)
  const document = parseManifest(stored.bytes, reference, stored.mediaType)
  const below = childrenOf(document).flatMap((child) => {
    if (document.kind === 'index') {
      expect(store.manifest(repository, child.digest)?.bytes).toHaveLength(child.size)
      return walk(store, repository, child.digest)
    }
    if (!child.urls) expect(store.blob(repository, child.digest)?.size).toBe(child.size)
    return []
  })
  return [document, ...below]
}

test.each(Object.entries(SHAPES))('%s is whole, consistent and the same each time', async (_, make) => {
  const built = await make()
  expect((await make()).descriptor).toEqual(built.descriptor)
  const store = new MemoryStore()
  images.seedRegistry(store, 'shape:1', built)
  expect(store.tags('shape')).toEqual(['1'])
  expect(walk(store, 'shape', '1').length).toBeGreaterThan(0)

  for (const manifest of manifestsOf(built)) {
    const { descriptor, config, layers } = manifest
    for (const content of [manifest, config, ...layers]) {
      expect(digestOf(content.bytes)).toBe(content.descriptor.digest)
    }
    if (!config.descriptor.mediaType.includes('image')) continue
    const platform = platformOfConfig(config.bytes, 'the config')
    expect(platform && formatPlatform(platform)).toBe(
      descriptor.platform && formatPlatform(descriptor.platform),
    )
    const { rootfs } = JSON.parse(config.bytes.toString()) as { rootfs: { diff_ids: string[] } }
    const tars = layers.map((layer) => unpacked(layer.bytes, layer.descriptor.mediaType))
    expect(tars.map((tar) => digestOf(tar))).toEqual(rootfs.diff_ids)
  }
})

test('the shapes have the platforms they are named for', async () => {
  expect(images.platformsOf(await images.windowsIndex())).toEqual([
    'linux/amd64',
    'windows(10.0.17763.7314)/amd64',
    'windows(10.0.20348.3692)/amd64',
    'windows(10.0.26100.4061)/amd64',
  ])
  expect(images.platformsOf(await images.armIndex())).toEqual([
    'linux/amd64',
    'linux/arm/v5',
    'linux/arm/v6',
    'linux/arm/v7',
    'linux/arm64',
  ])
  expect(images.platformsOf(await images.indexWithPlatformlessChild())).toEqual([
    'linux/amd64',
    'linux/arm64',
    undefined,
  ])
  const buildkit = await images.buildkitIndex()
  expect(images.platformsOf(buildkit)).toEqual([
    'linux/amd64',
    'linux/arm64',
    'unknown/unknown',
    'unknown/unknown',
  ])
  const [amd64, arm64, ...attestations] = buildkit.children.map((child) => child.descriptor)
  expect(attestations.map(attestationSubject)).toEqual([amd64?.digest, arm64?.digest])
  const umoci = JSON.parse((await images.umociIndex()).bytes.toString()) as object
  expect(umoci).not.toHaveProperty('mediaType')
})

test('a foreign layer is left out of the store unless wanted', async () => {
  const built = await images.foreignLayerImage(['https://example.invalid/layer'])
  const foreign = built.layers[0]?.descriptor.digest
  if (!isDigest(foreign)) throw new Error('no foreign layer')
  const [without, withIt] = [new MemoryStore(), new MemoryStore()]
  images.seedRegistry(without, 'f:1', built)
  images.seedRegistry(withIt, 'f:1', built, { withForeignLayers: true })
  expect([without.blob('f', foreign), withIt.blob('f', foreign)?.size]).toEqual([
    undefined,
    built.layers[0]?.bytes.length,
  ])
})

test('the stand-ins are kubeadm’s images under their real names, and say what they are', async () => {
  const { store, references } = await images.standIns({ kubernetesVersion: 'v1.36.3' })
  expect(references).toEqual([
    'registry.k8s.io/kube-apiserver:v1.36.3',
    'registry.k8s.io/kube-controller-manager:v1.36.3',
    'registry.k8s.io/kube-scheduler:v1.36.3',
    'registry.k8s.io/kube-proxy:v1.36.3',
    'registry.k8s.io/coredns/coredns:v1.14.2',
    'registry.k8s.io/etcd:3.6.8-0',
    'registry.k8s.io/pause:3.10.2',
    'docker.io/library/nginx:1.29',
    'ghcr.io/example/charts/hello:0.1.0',
  ])
  expect(store.repositories()).toEqual(
    references.map((reference) => reference.split(':')[0] ?? '').toSorted(compareBytes),
  )

  const bases = new Set<string>()
  for (const reference of references) {
    const [repository = '', tag = ''] = reference.split(':')
    const documents = walk(store, repository, tag)
    const blobs = new Map(
      documents
        .flatMap((document) => (document.kind === 'index' ? [] : childrenOf(document)))
        .map((d) => [d.digest, d]),
    )
    const size = [...blobs.values()].reduce((sum, blob) => sum + blob.size, 0)
    expect(size).toBeLessThan(1024 * 1024)
    if (reference.startsWith('ghcr.io')) continue

    const { mediaType } = documents[0] ?? {}
    expect(mediaType).toBe(reference.startsWith('docker.io') ? OCI_INDEX : DOCKER_LIST)
    for (const document of documents) {
      if (document.kind === 'index' || document.layers.some((layer) => layer.mediaType.includes('in-toto')))
        continue
      const files: Record<string, Buffer> = {}
      for (const layer of document.layers) {
        const chunks: Uint8Array[] = []
        for await (const chunk of store.blob(repository, layer.digest)?.read(0, layer.size) ?? [])
          chunks.push(chunk)
        Object.assign(files, await readTar(unpacked(Buffer.concat(chunks), layer.mediaType)))
      }
      expect(files['stand-in/README.txt']?.toString()).toContain(`stand-in for ${reference}`)
      if (reference.includes('kube-')) bases.add(document.layers[0]?.digest ?? '')
    }
  }
  expect(bases.size).toBe(1)
})
