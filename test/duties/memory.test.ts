import { Writable } from 'node:stream'
import pLimit from 'p-limit'
import { describe, expect, test } from 'vitest'
import { buildkitIndex, seedRegistry, singleManifest } from '../../fixtures/images/index.ts'
import { BUNDLE_TYPE } from '../../src/bundle/description.ts'
import { blobName } from '../../src/bundle/names.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import type { Descriptor, ManifestOrIndex } from '../../src/oci/manifest.ts'
import { OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import { parseReference } from '../../src/oci/reference.ts'
import type { Repository } from '../../src/registry/repository.ts'
import { startRegistry } from '../support/registry/registry.ts'
import { closureOf, type LoadDocument } from '../../src/content/graph.ts'
import { Limits, RunLimits } from '../../src/content/limits.ts'
import { planPack } from '../../src/pack/plan.ts'
import { ReferrerLookup } from '../../src/pack/referrers/lookup.ts'
import { resolveImages } from '../../src/pack/resolve-images.ts'
import { packToStream } from '../../src/pack/to-stream.ts'
import { DocumentCache } from '../../src/pack/sources.ts'
import type { ServedImage } from '../../src/serve/names.ts'
import { sourceRepositories } from '../../src/serve/repositories.ts'
import { failureOf, json, makeClient, serve } from '../support/client.ts'
import { hugeManifest } from './hostile.ts'
import { hintOf } from '../../src/cli/words/hints.ts'

const MIB = 1024 * 1024

const DESCRIPTION = {
  type: BUNDLE_TYPE as typeof BUNDLE_TYPE,
  formatVersion: '1.0',
  requires: [] as string[],
  name: 'x',
  sequence: 1,
  created: '2026-01-01T00:00:00Z',
  tool: { name: 'airgap', version: '1' },
}

describe('[duty: bounded] documents are dropped after use', () => {
  test('where nothing is kept, a bundle comes out the same, and is only asked for more often', async () => {
    await using registry = await startRegistry()
    seedRegistry(registry.store, 'app:1', await buildkitIndex())
    const client = makeClient()
    const packed = async (cache: DocumentCache): Promise<{ bytes: Buffer; requests: number }> => {
      const before = registry.requests.length
      const common = { client, cache }
      const reference = parseReference(`${registry.host}/app:1`)
      // One platform of two with its attestation: an index that is made here, and is nowhere else to be had.
      const { lock } = await resolveImages({
        ...common,
        images: [{ reference, from: 'argument' }],
        platforms: [parsePlatform('linux/amd64')],
      })
      const chunks: Buffer[] = []
      const sink = new Writable({
        write: (chunk: Buffer, _, done) => {
          chunks.push(chunk)
          done()
        },
      })
      await packToStream(await planPack({ ...common, lock, description: DESCRIPTION }), sink, { client })
      return { bytes: Buffer.concat(chunks), requests: registry.requests.length - before }
    }
    const kept = await packed(new DocumentCache())
    const dropped = await packed(new DocumentCache(undefined, 0, 0))
    expect(dropped.bytes.equals(kept.bytes)).toBe(true)
    expect(dropped.requests).toBeGreaterThan(kept.requests)
  })

  test('a list of images that no reader would read is not packed', async () => {
    await using registry = await startRegistry()
    seedRegistry(registry.store, 'app:1', await singleManifest())
    const cache = new DocumentCache()
    const reference = parseReference(`${registry.host}/app:1`)
    const common = { client: makeClient(), cache }
    const { lock } = await resolveImages({
      ...common,
      images: [{ reference, from: 'argument' }],
      platforms: 'all',
    })
    const reason = 'x'.repeat(1000)
    const skipped = Array.from({ length: 64 * 1024 }, (_, i) => ({
      source: `example.test/app:${String(i).padStart(5, '0')}`,
      code: 'NOT_FOUND',
      message: reason,
    }))
    const error = await failureOf(
      planPack({ ...common, lock: { ...lock, skipped }, description: DESCRIPTION }),
      'USAGE',
    )
    expect(error.message).toMatch(
      /^airgap\.json of this bundle would have \d+ bytes, but at most 67108864 are allowed$/,
    )
    expect(hintOf(error)).toContain('several bundles')
  })
})

describe('[duty: bounded] an image, and all images together, are held to numbers', () => {
  const root = { mediaType: OCI_INDEX, digest: digestOf('root'), size: 1 }
  const child = (i: number): Descriptor => ({ mediaType: OCI_MANIFEST, digest: digestOf(String(i)), size: 1 })
  const many = Array.from({ length: 10_000 }, (_, i) => child(i))
  /** An index of so many manifests, each with so many layers. */
  function loader(manifests: number, layers: number): LoadDocument {
    return async ({ digest }): Promise<ManifestOrIndex> => {
      const document = { bytes: Buffer.alloc(1), digest }
      return digest === root.digest
        ? { ...document, kind: 'index', mediaType: OCI_INDEX, manifests: many.slice(0, manifests) }
        : {
            ...document,
            kind: 'manifest',
            mediaType: OCI_MANIFEST,
            config: child(0),
            layers: many.slice(0, layers),
          }
    }
  }
  const walk = (manifests: number, layers: number, run = new RunLimits('split it')): Promise<unknown> => {
    const limits = new Limits(run, { image: 'x', hint: 'leave it out' })
    return closureOf(root, limits.counting(loader(manifests, layers)), 'x', undefined, limits)
  }

  test('10000 manifests and indexes', async () => {
    await walk(9999, 1)
    const { message, hint } = await failureOf(walk(10_000, 1), 'INVALID_CONTENT')
    expect(message).toBe('x: its manifests and indexes are more than 10000, which is the limit for one image')
    expect(hint).toBe('leave it out')
  })

  test('100000 things that they list', async () => {
    await walk(10, 9000)
    const { message } = await failureOf(walk(10, 10_000), 'INVALID_CONTENT')
    expect(message).toBe(
      'x: its manifests and indexes list more than 100000 children, configs and layers, which is the limit for one image',
    )
  })

  test('2000000 things that all images list', async () => {
    const run = new RunLimits('split it')
    const all = async (): Promise<void> => {
      for (let i = 0; i < 23; i += 1) await walk(10, 9000, run)
    }
    const { message, hint } = await failureOf(all(), 'INVALID_CONTENT')
    expect(message).toBe(
      'the images list more than 2000000 manifests and blobs together, which is the limit for one bundle',
    )
    expect(hint).toBe('split it')
  })

  test('a list of referrers goes on for 200 pages', async () => {
    let pages = 0
    const server = await serve((seen, response) => {
      pages += 1
      const next = pages === 200 ? {} : { link: `<${seen.path}?page=${pages}>; rel="next"` }
      json(response, 200, { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [child(pages)] }, next)
    })
    const repository = makeClient().repository(server.host, 'app')
    const subject: Digest = digestOf('subject')
    expect(await repository.referrers(subject)).toHaveLength(200)
    const error = await failureOf(repository.referrers(subject), 'REGISTRY')
    expect(error.message).toContain(`${server.host} lists them on more than 200 pages`)
    expect(pages).toBe(400)
  })

  test('500000 entries in the lists of a run', async () => {
    const place = {
      registry: 'registry.example',
      name: 'registry.example/app',
      referrers: async () => many,
      allTags: async () => new Set(),
      resolveAttached: async () => undefined,
    } as unknown as Repository
    const sources = { all: [place], source: place, naming: [], movedBy: undefined }
    const lookup = new ReferrerLookup({
      choice: 'all',
      resolveFrom: 'source',
      cache: new DocumentCache(),
      limit: pLimit(1),
    })
    const all = async (): Promise<void> => {
      for (let i = 0; i < 51; i += 1) await lookup.of(sources, digestOf(`subject ${i}`))
    }
    const { message, hint } = await failureOf(all(), 'REGISTRY')
    expect(message).toContain('registry.example and others list more than 500000 referrers')
    expect(hint).toContain('several bundles')
  })

  test('64 MiB of annotations of what refers to images, which serve holds', async () => {
    const documents = Array.from({ length: 9 }, (_, i) => hugeManifest(i))
    const digests = documents.map((bytes) => digestOf(bytes))
    const entries = new Map(digests.map((digest, i) => [blobName(digest), { number: i }]))
    const opened = { reader: { read: async ({ number }: { number: number }) => documents[number] }, entries }
    const nodes = digests.map((digest) => ({
      kind: 'manifest' as const,
      mediaType: OCI_MANIFEST,
      digest,
      size: 8 * MIB,
      subject: root.digest,
      runnable: undefined,
    }))
    const closure = { documents: new Map(nodes.map((node) => [node.digest, node])), blobs: new Map() }
    const image = {
      source: 'example.test/app:1',
      registry: 'example.test',
      repository: 'app',
      tag: '1',
      bundle: 'b.tar',
      graph: { closure, evidence: [], referrers: [] },
      opened,
    } as unknown as ServedImage
    const { message } = await failureOf(sourceRepositories([image]), 'VERIFICATION_FAILED')
    expect(message).toBe(
      'example.test/app:1 in b.tar: the referrers of the images have more than 64 MiB of annotations, the most that can be served',
    )
  })
})
