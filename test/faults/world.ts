import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  assemble,
  buildIndex,
  imageConfig,
  type Built,
  type BuiltImage,
} from '../../fixtures/images/build.ts'
import { contentOf, seededBytes, type Content } from '../../fixtures/images/content.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { OCI_CONFIG, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import { RegistryClient } from '../../src/registry/client.ts'
import type { Repository } from '../../src/registry/repository.ts'
import { Airgap } from '../e2e/parts/airgap.ts'
import { startDockerRegistry, type Registry } from '../e2e/parts/registries.ts'
import { scratch } from '../e2e/parts/scratch.ts'
import type { Part } from '../e2e/parts/tools.ts'
import { startFaultProxy, type FaultProxy } from './fault-proxy.ts'

export const FAULT_PARTS: readonly Part[] = ['setpriv', 'docker-registry']

const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip'
const KiB = 1024
const MiB = 1024 ** 2

/** Layers of all sizes, some of them in several images. Their bytes are no tars: nobody unpacks them here. */
const IMAGES: Record<string, Record<string, readonly [string, number][]>> = {
  'faults/large': {
    'linux/amd64': [
      ['base', 3 * MiB],
      ['large', 32 * MiB],
    ],
  },
  'faults/both': {
    'linux/amd64': [
      ['base', 3 * MiB],
      ['amd64', 9 * MiB],
    ],
    'linux/arm64': [
      ['arm-base', 2 * MiB],
      ['arm64', 5 * MiB + 1],
    ],
  },
  'faults/many': {
    'linux/amd64': Array.from({ length: 24 }, (_, i) => [`small-${i}`, 40 * KiB + i * 7919] as const),
  },
}

/** A docker-registry that holds the images, a proxy before it, and what is needed to work with both. */
export interface World extends AsyncDisposable {
  folder: string
  source: FaultProxy
  /** Image references through the proxy. */
  references: string[]
  /** Runs the command in {@link folder}, at a fixed time. */
  airgap: Airgap
  /** An empty registry with a proxy before it. */
  target: () => Promise<Target>
  path: (name: string) => string
  /** The command line that packs all of it, the same bytes each time. */
  packing: (output: string) => string[]
}

/** A registry to push to, which can be ended and started again on the same store. */
export interface Target extends AsyncDisposable {
  proxy: FaultProxy
  /** Its address without the proxy: `127.0.0.1:PORT`. */
  direct: () => string
  restart: () => Promise<void>
}

export async function openWorld(): Promise<World> {
  const stack = new AsyncDisposableStack()
  try {
    const { path: folder } = stack.use(await scratch())
    let count = 0
    const startTarget = async (): Promise<Target> => {
      count += 1
      const store = join(folder, `store-${count}`)
      await mkdir(store)
      let registry: Registry = await startDockerRegistry({ store, scratch: folder })
      const proxy = await startFaultProxy(registry.host)
      return {
        proxy,
        direct: () => registry.host,
        restart: async () => {
          await registry[Symbol.asyncDispose]()
          registry = await startDockerRegistry({ store, scratch: folder })
          proxy.upstream = registry.host
        },
        [Symbol.asyncDispose]: async () => {
          await proxy[Symbol.asyncDispose]()
          await registry[Symbol.asyncDispose]()
        },
      }
    }
    const source = stack.use(await startTarget())
    await fill(source.direct())
    const references = Object.keys(IMAGES).map((name) => `${source.proxy.host}/${name}:1`)
    const owned = stack.move()
    return {
      folder,
      source: source.proxy,
      references,
      packing: (output) => ['pack', ...references, '--name', 'same', '--no-sign', '-o', output],
      airgap: new Airgap(folder, { SOURCE_DATE_EPOCH: '1800000000' }),
      target: startTarget,
      path: (name) => join(folder, name),
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}

async function fill(host: string): Promise<void> {
  const client = new RegistryClient({ plainHttp: [host] })
  try {
    for (const [name, platforms] of Object.entries(IMAGES)) {
      const repository = client.repository(host, name)
      const built: BuiltImage[] = []
      for (const [platform, layers] of Object.entries(platforms)) {
        built.push(await putImage(repository, platform, layers))
      }
      const [only] = built
      const root: Built = built.length === 1 && only ? only : buildIndex(built)
      await repository.putManifest('1', { bytes: root.bytes, ...root.descriptor })
    }
  } finally {
    await client.close()
  }
}

async function putImage(
  repository: Repository,
  platform: string,
  sizes: readonly (readonly [string, number])[],
): Promise<BuiltImage> {
  const layers = sizes.map(([seed, size]) => contentOf(LAYER, seededBytes(seed, size)))
  const parsed = parsePlatform(platform)
  const named = layers.map(({ bytes, descriptor }) => ({
    bytes,
    diffId: descriptor.digest,
    compression: 'gzip' as const,
  }))
  const config = contentOf(OCI_CONFIG, imageConfig(parsed, named, undefined))
  for (const blob of [config, ...layers]) await putBlob(repository, blob)
  const image = assemble({ mediaType: OCI_MANIFEST, config, layers, platform: parsed })
  await repository.putManifest(image.descriptor.digest, { bytes: image.bytes, ...image.descriptor })
  return image
}

async function putBlob(repository: Repository, { descriptor, bytes }: Content): Promise<void> {
  await repository.uploadBlob(descriptor, async function* () {
    yield bytes
  })
}

/** The command line that pushes a bundle to a place in a registry. */
export function pushing(bundle: string, { proxy }: Target, prefix: string): string[] {
  return ['push', bundle, `${proxy.host}/${prefix}`, '--path', 'strip-host', '--allow-unsigned']
}

/** Bytes of each blob that have been downloaded through a proxy, by digest. */
export function downloadedBlobs(proxy: FaultProxy): Map<Digest, number> {
  const bytes = new Map<Digest, number>()
  for (const { method, path, down } of proxy.passed) {
    const digest = /\/blobs\/(sha256:[0-9a-f]{64})$/.exec(path)?.[1] as Digest | undefined
    if (method === 'GET' && digest) bytes.set(digest, (bytes.get(digest) ?? 0) + down)
  }
  return bytes
}

/** Bytes of blobs that have been uploaded through a proxy. */
export function uploadedBytes(proxy: FaultProxy): number {
  return proxy.passed
    .filter(({ path }) => path.includes('/blobs/uploads/'))
    .reduce((sum, { up }) => sum + up, 0)
}
