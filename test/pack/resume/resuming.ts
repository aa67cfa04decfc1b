import { open, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished } from 'vitest'
import { buildImage, seedRegistry, seededBytes, type BuiltImage } from '../../../fixtures/images/index.ts'
import {
  pack,
  parsePlatform,
  type Packed,
  type PackOptions,
  type UnfinishedPack,
} from '../../../src/index.ts'
import { startRegistry, type EmbeddedRegistry } from '../../support/registry/registry.ts'
import { temporaryFolder } from '../../support/build-bundle.ts'
import { outcomeOf } from '../../content/engines.ts'

/** What a pack is called off with here. */
const REASON = new Error('a cut line')

/** Several pieces of what is written at a time. */
export const LARGE = 5 * 512 * 1024

const NAMES = ['one', 'two', 'three']
let built: Promise<BuiltImage[]> | undefined

function imageOf(name: string): Promise<BuiltImage> {
  return buildImage({
    platform: parsePlatform('linux/amd64'),
    files: {
      'large.bin': Buffer.alloc(LARGE, seededBytes(name, 4001)),
      'small.bin': seededBytes(name, 9000),
    },
    layers: 2,
    compression: 'none',
  })
}

/** A registry with images `one`, `two` and `three`, and a place for a bundle of them. */
export interface Shop {
  source: EmbeddedRegistry
  folder: string
  output: string
  partial: string
  journal: string
  images: string[]
  options: PackOptions & { images: string[]; output: string }
  /** Everything fixed that a bundle depends on, so that two runs give the same bytes. */
  pack(more?: Partial<PackOptions>): Promise<Packed>
  /** The same, called off when so many bytes of blobs have come. */
  breakOff(bytes: number, more?: Partial<PackOptions>): Promise<UnfinishedPack | undefined>
  /** Bytes of the same bundle, packed in one go. */
  whole(more?: Partial<PackOptions>): Promise<Buffer>
  /** What was asked of the registry since the last call. */
  asked(): { manifests: string[]; blobs: string[] }
}

export async function openShop(): Promise<Shop> {
  built ??= Promise.all(NAMES.map((name) => imageOf(name)))
  const source = await startRegistry()
  onTestFinished(() => source.close())
  const images: string[] = []
  for (const [i, image] of (await built).entries()) {
    seedRegistry(source.store, `${NAMES[i]}:1`, image)
    images.push(`${source.host}/${NAMES[i]}:1`)
  }
  const folder = await temporaryFolder()
  const output = join(folder, 'out.tar')
  const options: Shop['options'] = { images, output, key: 'unsigned', concurrency: 2 }
  const shop: Shop = {
    source,
    folder,
    output,
    partial: `${output}.partial`,
    journal: `${output}.partial.journal`,
    images,
    options,
    pack: (more) => pack({ ...options, ...more }),
    async breakOff(bytes, more) {
      const controller = new AbortController()
      let phase = ''
      let come = 0
      const left: UnfinishedPack[] = []
      const outcome = await outcomeOf(
        shop.pack({
          ...more,
          signal: controller.signal,
          onEvent: (event) => {
            if (event.type === 'phase') phase = event.phase
            if (event.type !== 'progress' || phase !== 'fetch') return
            come += event.bytes
            if (come >= bytes) controller.abort(REASON)
          },
          onIncomplete: (unfinished) => void left.push(unfinished),
        }),
      )
      expect(outcome).toEqual({ reason: REASON })
      expect(left.length).toBeLessThanOrEqual(1)
      return left[0]
    },
    async whole(more) {
      const path = join(folder, `whole-${Math.random()}.tar`)
      await shop.pack({ name: 'out', ...more, output: path })
      shop.asked()
      return readFile(path)
    },
    asked() {
      const all = source.requests.splice(0).filter(({ method }) => method === 'GET' || method === 'HEAD')
      return {
        manifests: all.filter(({ path }) => path.includes('/manifests/')).map(({ path }) => path),
        blobs: all
          .filter(({ path }) => path.includes('/blobs/'))
          .map(({ path, range }) => `${path} ${range ?? ''}`),
      }
    },
  }
  return shop
}

/** Writes bytes into a file that stays the same file. */
export async function overwrite(path: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(path, 'r+')
  await handle.truncate(0)
  await handle.write(bytes, 0, bytes.length, 0)
  await handle.close()
}

/** Puts a finished bundle back to where a run was that was killed. */
export async function putBack(
  { output, partial, journal }: Shop,
  before: { partial: Buffer; journal: Buffer },
): Promise<void> {
  await rename(output, partial)
  await overwrite(partial, before.partial)
  await writeFile(journal, before.journal, { mode: 0o600 })
}

export async function flip(path: string, at: number): Promise<void> {
  const handle = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await handle.read(byte, 0, 1, at)
  byte[0]! ^= 1
  await handle.write(byte, 0, 1, at)
  await handle.close()
}
