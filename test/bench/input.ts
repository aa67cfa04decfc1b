import { createCipheriv, createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import {
  assemble,
  buildIndex,
  imageConfig,
  type Built,
  type BuiltImage,
} from '../../fixtures/images/build.ts'
import { contentOf } from '../../fixtures/images/content.ts'
import { encodeHeader, END_SIZE, paddingLength } from '../../src/bundle/tar.ts'
import type { Digest } from '../../src/oci/digest.ts'
import type { Descriptor } from '../../src/oci/manifest.ts'
import { OCI_CONFIG, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import { RegistryClient } from '../../src/registry/client.ts'
import type { Repository } from '../../src/registry/repository.ts'

const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip'
const MiB = 1024 ** 2

/** A layer on disk. */
interface Layer {
  file: string
  descriptor: Descriptor
  diffId: Digest
}

/**
 * Images of about 2 GB together: one with a layer of 1 GiB, five that share their base layers, and one of two
 * platforms with hundreds of small layers. All bytes follow from seeds, and do not compress.
 */
const IMAGES = [
  { name: 'bench/model', platforms: { 'linux/amd64': ['base:64', 'weights:1024'] } },
  ...['a', 'b', 'c', 'd', 'e'].map((letter) => ({
    name: `bench/service-${letter}`,
    platforms: { 'linux/amd64': ['base:64', 'runtime:256', `service-${letter}:110`] },
  })),
  {
    name: 'bench/small-layers',
    platforms: {
      'linux/amd64': manySmall('amd64'),
      'linux/arm64': manySmall('arm64'),
    },
  },
]

function manySmall(seed: string): string[] {
  return Array.from({ length: 120 }, (_, i) => `${seed}-${i}:0.1`)
}

/** The repositories of all images; the tag is `1`. */
export const NAMES: readonly string[] = IMAGES.map(({ name }) => name)

/** The one with the layer of 1 GiB. */
export const LARGE = 'bench/model'

/** Makes the images and puts them into a registry, unless it has them already. */
export async function fillRegistry(host: string, scratch: string): Promise<void> {
  const client = new RegistryClient({ plainHttp: [host] })
  const folder = join(scratch, 'layers')
  const made = new Map<string, Layer>()
  try {
    for (const { name, platforms } of IMAGES) {
      const repository = client.repository(host, name)
      if (await repository.resolveManifest('1')) continue
      const built: BuiltImage[] = []
      for (const [platform, seeds] of Object.entries(platforms)) {
        built.push(await putImage(repository, platform, seeds, folder, made))
      }
      const [only] = built
      const root: Built = built.length === 1 && only ? only : buildIndex(built)
      const { digest, mediaType } = root.descriptor
      await repository.putManifest('1', { bytes: root.bytes, mediaType, digest })
    }
  } finally {
    await client.close()
    await rm(folder, { recursive: true, force: true })
  }
}

async function putImage(
  repository: Repository,
  platform: string,
  seeds: string[],
  folder: string,
  made: Map<string, Layer>,
): Promise<BuiltImage> {
  const layers: Layer[] = []
  for (const seed of seeds) {
    const layer = await makeLayer(seed, folder, made)
    await repository.uploadBlob(layer.descriptor, (start) => createReadStream(layer.file, { start }))
    layers.push(layer)
  }
  const parsed = parsePlatform(platform)
  const named = layers.map(({ diffId }) => ({
    bytes: new Uint8Array(),
    diffId,
    compression: 'gzip' as const,
  }))
  const config = contentOf(OCI_CONFIG, imageConfig(parsed, named, undefined))
  await repository.uploadBlob(config.descriptor, async function* () {
    yield config.bytes
  })
  const image = assemble({
    mediaType: OCI_MANIFEST,
    config,
    layers: layers.map(({ descriptor }) => ({ descriptor, bytes: new Uint8Array() })),
    platform: parsed,
  })
  await repository.putManifest(image.descriptor.digest, {
    bytes: image.bytes,
    mediaType: OCI_MANIFEST,
    digest: image.descriptor.digest,
  })
  return image
}

/** @param seed `NAME:MIB` */
async function makeLayer(seed: string, folder: string, made: Map<string, Layer>): Promise<Layer> {
  const file = join(folder, `${seed}.tar.gz`)
  const size = Math.round(Number(seed.split(':')[1]) * MiB)
  const diff = createHash('sha256')
  const whole = createHash('sha256')
  const known = made.get(seed)
  if (known) return known
  await mkdir(folder, { recursive: true })
  await pipeline(
    tarOfRandom(seed, size),
    async function* (source: AsyncIterable<Buffer>) {
      for await (const chunk of source) {
        diff.update(chunk)
        yield chunk
      }
    },
    // Stored, not compressed: random bytes would only take time.
    createGzip({ level: 0 }),
    async function* (source: AsyncIterable<Buffer>) {
      for await (const chunk of source) {
        whole.update(chunk)
        yield chunk
      }
    },
    createWriteStream(`${file}.new`),
  )
  await rename(`${file}.new`, file)
  const digest: Digest = `sha256:${whole.digest('hex')}`
  const layer: Layer = {
    file,
    descriptor: { mediaType: LAYER, digest, size: (await stat(file)).size },
    diffId: `sha256:${diff.digest('hex')}`,
  }
  made.set(seed, layer)
  return layer
}

async function* tarOfRandom(seed: string, size: number): AsyncGenerator<Buffer> {
  yield encodeHeader(`data/${seed.replace(':', '-')}`, size)
  const stream = createCipheriv('aes-256-ctr', createHash('sha256').update(seed).digest(), Buffer.alloc(16))
  const zeros = Buffer.alloc(MiB)
  for (let done = 0; done < size; done += MiB)
    yield stream.update(zeros.subarray(0, Math.min(MiB, size - done)))
  yield Buffer.alloc(paddingLength(size) + END_SIZE)
}
