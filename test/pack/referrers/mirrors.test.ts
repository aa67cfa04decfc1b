import { beforeAll, describe, expect, test } from 'vitest'
import { cosignManifest, referrerTo, seedRegistry, simpleSigning } from '../../../fixtures/images/index.ts'
import { cosignTag } from '../../../src/oci/cosign.ts'
import type { EmbeddedRegistry, EmbeddedRegistryOptions } from '../../support/registry/registry.ts'
import {
  EVERYTHING,
  named,
  planned,
  seedSigned,
  signedImage,
  SPDX,
  started,
  type Signed,
} from '../../support/attached.ts'

let all: Signed
beforeAll(async () => {
  all = await signedImage()
})

/** A registry that answers everything with a status, or nothing but lists and cosign's tags. */
const refusing = (
  status: number,
  isRefused: (path: string) => boolean = () => true,
): EmbeddedRegistryOptions => ({
  front: async ({ path }) => (isRefused(path) ? { status, headers: { 'Content-Length': '0' } } : undefined),
})
const ofReferrers = (path: string): boolean => /\/referrers\/|\.(?:sig|att|sbom)$/.test(path)

async function withAll(options?: EmbeddedRegistryOptions): Promise<EmbeddedRegistry> {
  const registry = await started(options)
  seedSigned(registry.store, 'app', all)
  return registry
}

/** A mirror that has the image, and nothing that refers to it. */
async function bare(options?: EmbeddedRegistryOptions): Promise<EmbeddedRegistry> {
  const registry = await started(options)
  seedRegistry(registry.store, 'app:1', all.index)
  return registry
}

const mirroring = (source: EmbeddedRegistry, ...mirrors: EmbeddedRegistry[]) => ({
  mirrors: mirrors.map(({ host }) => `${source.host}=${host}`),
  retries: 0,
})

describe('with a mirror, what refers to an image', () => {
  test('is not lost where only the source has it', async () => {
    const [source, mirror] = [await withAll(), await bare()]
    const { images, warnings } = await planned({
      images: [`${source.host}/app:1`],
      ...mirroring(source, mirror),
    })
    expect(named(images[0]?.referrers, all)).toEqual(EVERYTHING)
    expect(warnings).toEqual([])
  })

  test('is not lost where only the mirror has it; of two signatures under one tag the source’s counts', async () => {
    const [source, mirror] = [await bare(), await withAll()]
    const { digest } = all.index.descriptor
    const renewed = cosignManifest([simpleSigning(digest, 'a newer one')])
    seedRegistry(source.store, `app:${cosignTag(digest, 'sig')}`, renewed)
    const { images } = await planned({ images: [`${source.host}/app:1`], ...mirroring(source, mirror) })
    const digests = images[0]?.referrers?.map((one) => one.digest)
    expect(digests).toContain(renewed.descriptor.digest)
    expect(digests).toContain(all.sbom.descriptor.digest)
    expect(digests).not.toContain(all.sig.descriptor.digest)
  })

  test('is found in spite of a mirror that cannot list, which is told', async () => {
    const [source, mirror] = [await withAll(), await bare(refusing(403, ofReferrers))]
    const { images, events } = await planned({
      images: [`${source.host}/app:1`],
      ...mirroring(source, mirror),
    })
    expect(named(images[0]?.referrers, all)).toEqual(EVERYTHING)
    const notices = events.filter(({ type }) => type === 'registry').map((event) => JSON.stringify(event))
    expect(notices.filter((text) => text.includes(`the mirror ${mirror.host} is skipped`))).toHaveLength(1)
  })

  test.each([
    ['refuses us', 401],
    ['denies it', 403],
  ])('is what the mirror lists where the source %s, and that is told once', async (_, status) => {
    const [source, mirror] = [await withAll(refusing(status, ofReferrers)), await withAll()]
    const { images, warnings } = await planned({
      images: [`${source.host}/app:1`],
      ...mirroring(source, mirror),
    })
    expect(named(images[0]?.referrers, all)).toEqual(EVERYTHING)
    expect(warnings).toEqual([expect.stringContaining(`${source.host} cannot be asked for signatures`)])
  })

  test('is an error where the source fails at it', async () => {
    const [source, mirror] = [await withAll(refusing(500, ofReferrers)), await withAll()]
    const pack = planned({ images: [`${source.host}/app:1`], ...mirroring(source, mirror) })
    await expect(pack).rejects.toMatchObject({
      code: 'REGISTRY',
      message: expect.stringContaining(source.host) as string,
      hints: expect.arrayContaining([{ id: 'no-referrers' }]) as unknown,
    })
  })
})

describe('with --resolve-from mirror', () => {
  test('mirrors speak for the source, which is not asked; what any of them lists counts', async () => {
    const [source, one, two] = [await withAll(), await withAll(), await bare()]
    const extra = referrerTo(all.index.descriptor, SPDX, 'of our own')
    seedRegistry(two.store, 'app', extra)
    const { images } = await planned({
      images: [`${source.host}/app:1`],
      ...mirroring(source, one, two),
      resolveFrom: 'mirror',
    })
    const names = named(images[0]?.referrers, all)
    expect(names).toHaveLength(EVERYTHING.length + 1)
    expect(names).toContain(`${extra.descriptor.digest} → index`)
    expect(source.requests).toEqual([])
  })

  test('the source is asked where no mirror answers', async () => {
    const [source, mirror] = [await withAll(), await bare(refusing(500, ofReferrers))]
    const { images } = await planned({
      images: [`${source.host}/app:1`],
      ...mirroring(source, mirror),
      resolveFrom: 'mirror',
    })
    expect(named(images[0]?.referrers, all)).toEqual(EVERYTHING)
  })
})
