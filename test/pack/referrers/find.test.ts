import { beforeAll, describe, expect, test } from 'vitest'
import {
  AMD64,
  buildIndex,
  cosignManifest,
  helmChart,
  image,
  referrerTo,
  seedRegistry,
  simpleSigning,
} from '../../../fixtures/images/index.ts'
import type { AirgapError } from '../../../src/errors.ts'
import { parseLock, resolve, serializeLock } from '../../../src/index.ts'
import { MAX_REFERRERS_OF_IMAGE } from '../../../src/bundle/referrers.ts'
import { cosignTag } from '../../../src/oci/cosign.ts'
import { OCI_INDEX } from '../../../src/oci/media-types.ts'
import type { Quirk } from '../../support/registry/quirks.ts'
import type { EmbeddedRegistry } from '../../support/registry/registry.ts'
import {
  EVERYTHING,
  listByTag,
  named,
  planned,
  seedSigned,
  signedImage,
  SPDX,
  started,
  type Signed,
} from '../../support/attached.ts'
import { hintOf } from '../../../src/cli/words/hints.ts'

let all: Signed
beforeAll(async () => {
  all = await signedImage()
})

async function source(options: Parameters<typeof started>[0] = {}): Promise<EmbeddedRegistry> {
  const registry = await started(options)
  seedSigned(registry.store, 'app', all)
  return registry
}

const failure = async (promise: Promise<unknown>): Promise<AirgapError> =>
  promise.then(
    () => expect.unreachable('it should have failed'),
    (error: unknown) => error as AirgapError,
  )

describe('what refers to an image is found', () => {
  test('by the registry’s list and by cosign’s tags, and what refers to that as well', async () => {
    const { host } = await source()
    const { images, requires, warnings } = await planned({ images: [`${host}/app:1`] })
    expect(named(images[0]?.referrers, all)).toEqual(EVERYTHING)
    expect(requires).toEqual(['referrers'])
    expect(warnings).toEqual([])
    const sbom = images[0]?.referrers?.find(({ digest }) => digest === all.sbom.descriptor.digest)
    const blobs = [all.sbom.config, ...all.sbom.layers]
    expect(sbom).toEqual({
      subject: all.arm64.descriptor.digest,
      digest: all.sbom.descriptor.digest,
      mediaType: all.sbom.descriptor.mediaType,
      artifactType: SPDX,
      size: all.sbom.bytes.length + blobs.reduce((sum, { bytes }) => sum + bytes.length, 0),
    })
  })

  test('by the tag that stands in for the list', async () => {
    const registry = await source({ quirks: ['no-referrers'] })
    for (const [subject, listed] of [
      [all.index, all.sigstore],
      [all.arm64, all.sbom],
      [all.sbom, all.sigOfSbom],
    ] as const) {
      listByTag(registry.store, 'app', subject.descriptor.digest, [listed])
    }
    const { images } = await planned({ images: [`${registry.host}/app:1`] })
    expect(named(images[0]?.referrers, all)).toEqual(EVERYTHING)
  })

  test.each<Quirk>(['no-tag-list', 'partial-tag-list'])(
    '%s: each of cosign’s tags is asked for',
    async (quirk) => {
      const { host } = await source({ quirks: [quirk] })
      const { images, warnings } = await planned({ images: [`${host}/app:1`] })
      expect(named(images[0]?.referrers, all)).toEqual(EVERYTHING)
      expect(warnings).toEqual([])
    },
  )

  test('of the source index and the platforms taken, where only some are', async () => {
    const { host } = await source()
    const { images } = await planned({ images: [`${host}/app:1`], platforms: ['linux/amd64'] })
    const taken = EVERYTHING.filter((name) => !/sbom/i.test(name))
    expect(named(images[0]?.referrers, all)).toEqual(taken)
  })

  test('as chosen: signatures alone, or nothing', async () => {
    const registry = await source()
    const images = [`${registry.host}/app:1`]
    const signatures = await planned({ images, referrers: 'signatures' })
    // The SBOM's signature has nothing to refer to.
    expect(named(signatures.images[0]?.referrers, all)).toEqual([
      'sig → index .sig',
      'sigOfAmd64 → amd64 .sig',
      'sigstore → index',
    ])
    registry.requests.splice(0)
    const none = await planned({ images, referrers: 'none' })
    expect(none.images[0]).not.toHaveProperty('referrers')
    expect(none.requires).toEqual([])
    expect(registry.requests.filter(({ path }) => /referrers|\.sig$/.test(path))).toEqual([])
  })

  test('once for a repository, with progress, and with tokens for the repository alone', async () => {
    const registry = await started({ auth: { bearer: {} } })
    seedSigned(registry.store, 'app', all)
    seedRegistry(registry.store, 'app:2', all.index)
    const { events } = await planned({ images: [`${registry.host}/app:1`, `${registry.host}/app:2`] })
    const paths = registry.requests.map(({ method, path }) => `${method} ${path}`)
    const lists = paths.filter((path) => path.includes('/referrers/'))
    expect(new Set(lists).size).toBe(lists.length)
    // The image's three digests, and the six things that refer to them.
    expect(lists).toHaveLength(9)
    // One list of tags says which of cosign's tags are there to be asked for.
    expect(paths.filter((path) => path.includes('/tags/list'))).toHaveLength(1)
    const tags = paths.filter((path) => /^HEAD .*\.(sig|att|sbom)$/.test(path))
    expect(tags).toHaveLength(registry.store.tags('app')?.filter((tag) => tag.includes('.')).length ?? 0)
    expect(tags.length).toBeGreaterThan(0)
    expect(paths.filter((path) => path.includes('/token'))).toHaveLength(1)
    const own = events.filter((event) => event.type === 'item' && event.outcome === 'listed')
    expect(own).toHaveLength(2)
    expect(events).toContainEqual({ type: 'phase', phase: 'referrers', items: 2, bytes: 0 })
  })

  test('where it is a part of the image already, it is not listed besides, and what refers to it is found', async () => {
    const registry = await started()
    const one = await image('part', AMD64)
    const statement = referrerTo(one.descriptor, 'application/vnd.in-toto+json', 'statement')
    const signature = cosignManifest([simpleSigning(statement.descriptor.digest, 'of the statement')])
    seedRegistry(registry.store, 'app:1', buildIndex([one, statement]))
    seedRegistry(registry.store, `app:${cosignTag(statement.descriptor.digest, 'sig')}`, signature)
    const { images } = await planned({ images: [`${registry.host}/app:1`] })
    expect(images[0]?.referrers?.map(({ digest }) => digest)).toEqual([signature.descriptor.digest])
  })

  test('whatever kind it is: an index of images may refer to an image', async () => {
    const registry = await started()
    const [one, other] = [await image('runs', AMD64), await image('other', AMD64)]
    const chart = await helmChart()
    const index = buildIndex([other])
    const bytes = Buffer.from(
      JSON.stringify({
        ...(JSON.parse(Buffer.from(index.bytes).toString()) as object),
        subject: one.descriptor,
      }),
    )
    seedRegistry(registry.store, 'app:1', one)
    seedRegistry(registry.store, 'app', other)
    const digest = registry.store.putManifest('app', bytes, OCI_INDEX)
    seedRegistry(registry.store, 'chart:1', chart)
    const { images } = await planned({ images: [`${registry.host}/app:1`, `${registry.host}/chart:1`] })
    const app = images.find(({ source: name }) => name.includes('/app'))
    expect(app?.referrers).toEqual([
      expect.objectContaining({ digest, mediaType: OCI_INDEX, size: expect.any(Number) as number }),
    ])
    expect(app?.referrers?.[0]).not.toHaveProperty('artifactType')
  })
})

describe('what is not what it is listed as', () => {
  test('[attack: referrer-of-another-image] a list that names another image’s signature: left out, and told', async () => {
    const registry = await started({ quirks: ['no-referrers'] })
    const other = await signedImage('other')
    seedSigned(registry.store, 'app', other)
    seedSigned(registry.store, 'app', all)
    listByTag(registry.store, 'app', all.index.descriptor.digest, [all.sigstore, other.sigstore])
    const name = `${registry.host}/app:1`
    const { images, warnings } = await planned({ images: [name] })
    const digests = images[0]?.referrers?.map(({ digest }) => digest)
    expect(digests).toContain(all.sigstore.descriptor.digest)
    expect(digests).not.toContain(other.sigstore.descriptor.digest)
    expect(warnings).toEqual([
      `${name}: ${other.sigstore.descriptor.digest}, listed as referring to ${all.index.descriptor.digest.slice(7, 19)}, is left out: it refers to ${other.index.descriptor.digest}`,
    ])
  })

  test.each([
    ['the image itself', () => all.amd64, 'the very image'],
    ['an index', () => all.index, 'an index of images'],
    ['another image', () => all.arm64, 'an image, with layers of files'],
    ['what holds no signature', () => all.att, 'it holds no signature'],
  ])(
    '[attack: sig-tag-is-image] a .sig tag that leads to %s: no signature, and told',
    async (_, built, why) => {
      const registry = await started()
      seedRegistry(registry.store, 'app:1', all.amd64)
      const tag = cosignTag(all.amd64.descriptor.digest, 'sig')
      seedRegistry(registry.store, `app:${tag}`, built())
      const { images, warnings } = await planned({ images: [`${registry.host}/app:1`] })
      expect(images[0]).not.toHaveProperty('referrers')
      expect(warnings).toEqual([expect.stringContaining(`${registry.host}/app:${tag} is left out: it`)])
      expect(warnings[0]).toContain(why)
    },
  )

  test('what is listed and is not there, or cannot be read by anybody here: left out, and told', async () => {
    const registry = await started({ quirks: ['no-referrers'] })
    seedRegistry(registry.store, 'app:1', all.amd64)
    const gone = referrerTo(all.amd64.descriptor, SPDX, 'gone')
    const old = {
      ...gone,
      descriptor: {
        ...gone.descriptor,
        digest: all.att.descriptor.digest,
        mediaType: 'application/vnd.oci.artifact.manifest.v1+json',
      },
    }
    listByTag(registry.store, 'app', all.amd64.descriptor.digest, [gone, old])
    const { images, warnings } = await planned({ images: [`${registry.host}/app:1`] })
    expect(images[0]).not.toHaveProperty('referrers')
    expect(warnings).toHaveLength(2)
    expect(warnings).toContainEqual(
      expect.stringMatching(`${gone.descriptor.digest}, listed .* is left out: .*404`),
    )
    expect(warnings).toContainEqual(
      expect.stringMatching(`${old.descriptor.digest}, listed .* "application/vnd.oci.artifact.manifest`),
    )
  })

  test('many strays are counted, not poured out', async () => {
    const registry = await started({ quirks: ['no-referrers'] })
    seedRegistry(registry.store, 'app:1', all.amd64)
    const gone = [...Array(20).keys()].map((i) => referrerTo(all.amd64.descriptor, SPDX, `gone ${i}`))
    listByTag(registry.store, 'app', all.amd64.descriptor.digest, gone)
    const { warnings } = await planned({ images: [`${registry.host}/app:1`] })
    expect(warnings).toHaveLength(4)
    expect(warnings.at(-1)).toContain('and 17 more like these are left out')
  })
})

test('what is under a tag of cosign’s and listed without a subject, as Harbor does: no false warning', async () => {
  const list = [all.sig, all.sigstore].map(({ descriptor }) => descriptor)
  const registry = await source({
    front: async ({ path }) =>
      path.endsWith(`/referrers/${all.index.descriptor.digest}`)
        ? {
            status: 200,
            headers: { 'Content-Type': OCI_INDEX },
            body: Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: list })),
          }
        : undefined,
  })
  const { images, warnings } = await planned({ images: [`${registry.host}/app:1`] })
  expect(warnings).toEqual([])
  expect(named(images[0]?.referrers, all)).toEqual(EVERYTHING)
})

test('one that is listed by sha512 is left out and told of, the others travel', async () => {
  const sha512 = `sha512:${'a'.repeat(128)}`
  const registry = await source({ quirks: ['no-referrers'] })
  const { digest } = all.index.descriptor
  const odd = { ...all.sbom, descriptor: { ...all.sbom.descriptor, digest: sha512 as typeof digest } }
  listByTag(registry.store, 'app', digest, [odd, all.sigstore])
  const { images, warnings } = await planned({ images: [`${registry.host}/app:1`] })
  expect(named(images[0]?.referrers, all)).toContain('sigstore → index')
  expect(warnings).toEqual([
    `${registry.host}/app:1: ${sha512}, listed as referring to ${digest.slice(7, 19)}, is left out: its algorithm is sha512; only sha256 is supported`,
  ])
})

test('where what is not there is answered 403, images without signatures can be packed, with one warning', async () => {
  const registry = await started({ quirks: ['no-referrers', 'no-tag-list', 'missing-403'] })
  seedRegistry(registry.store, 'plain:1', all.index)
  seedRegistry(registry.store, 'plain:2', all.amd64)
  const { images, events } = await planned({
    images: ['1', '2'].map((tag) => `${registry.host}/plain:${tag}`),
  })
  expect(images).toHaveLength(2)
  const notices = events.flatMap((event) =>
    event.type === 'registry' && event.notice.type === 'warning' ? [event.notice.message] : [],
  )
  expect(notices).toEqual([
    expect.stringContaining(`${registry.host}/plain: the registry serves the image, but`),
  ])
})

describe('what cannot be found out is an error of that image', () => {
  test.each([
    ['the list', (path: string) => path.includes('/referrers/')],
    ['what is listed', (path: string) => path.endsWith(all.sigstore.descriptor.digest)],
  ])('%s is refused: the others go on', async (_, isRefused) => {
    const registry = await source({
      front: async ({ path }) =>
        path.startsWith('/v2/app/') && isRefused(path)
          ? { status: 403, headers: { 'Content-Length': '0' } }
          : undefined,
    })
    seedRegistry(registry.store, 'plain:1', all.amd64)
    const images = [`${registry.host}/app:1`, `${registry.host}/plain:1`]
    const error = await failure(resolve({ images }))
    expect(error.code).toBe('INCOMPLETE')
    expect(error.message).toContain('1 of 2 images could not be resolved')
    expect(error.problems).toEqual([expect.objectContaining({ entry: images[0], code: 'DENIED' })])
    expect(hintOf(error)).toContain('--referrers none')
    const lock = await resolve({ images, skipFailed: true })
    expect(lock.images.map(({ source: name }) => name)).toEqual([images[1]])
    expect(lock.skipped?.[0]).toMatchObject({ source: images[0], code: 'DENIED' })
    expect((await resolve({ images, referrers: 'none' })).images).toHaveLength(2)
  })

  test('more than any image has, and deeper than anybody goes', async () => {
    const many = await started({ quirks: ['no-referrers'] })
    seedRegistry(many.store, 'app:1', all.amd64)
    const listed = Array.from({ length: MAX_REFERRERS_OF_IMAGE + 1 }, (_, i) => ({
      ...all.att,
      descriptor: { ...all.att.descriptor, digest: `sha256:${i.toString(16).padStart(64, '0')}` as const },
    }))
    listByTag(many.store, 'app', all.amd64.descriptor.digest, listed)
    const tooMany = await failure(resolve({ images: [`${many.host}/app:1`] }))
    expect(tooMany.message).toContain('what refers to it is more than 1000')
    // None of them was asked for.
    expect(many.requests.some(({ path }) => path.includes('/sha256:000'))).toBe(false)

    const deep = await started()
    seedRegistry(deep.store, 'app:1', all.amd64)
    let last = all.amd64
    for (let i = 0; i < 10; i += 1) {
      last = referrerTo(last.descriptor, SPDX, `level ${i}`)
      seedRegistry(deep.store, 'app', last)
    }
    const tooDeep = await failure(resolve({ images: [`${deep.host}/app:1`] }))
    expect(tooDeep.message).toContain('what refers to it is deeper than 8 levels')
  })
})

describe('the lock', () => {
  test('pins what travels along: what is attached later does not, what is gone is an error', async () => {
    const registry = await source()
    const images = [`${registry.host}/app:1`]
    const lock = parseLock(serializeLock(await resolve({ images })), 'lock')
    const before = await planned({ lock })
    seedRegistry(registry.store, 'app', referrerTo(all.index.descriptor, SPDX, 'later'))
    registry.store.deleteTag('app', cosignTag(all.index.descriptor.digest, 'sig'))
    const after = await planned({ lock })
    expect(after.images).toEqual(before.images)
    expect(named(after.images[0]?.referrers, all)).toEqual(EVERYTHING)

    const { digest } = all.sigOfSbom.descriptor
    registry.store.deleteManifest('app', digest)
    const error = await failure(planned({ lock }))
    expect(error.code).toBe('NOT_FOUND')
    expect(error.message).toContain(`${images[0]}: ${digest}, which refers to ${all.sbom.descriptor.digest}`)
  })

  test('without the field, as older ones are: nothing travels', async () => {
    const { host } = await source()
    const lock = await resolve({ images: [`${host}/app:1`], referrers: 'none' })
    expect(serializeLock(lock).toString()).not.toContain('referrers')
    const { images, requires } = await planned({ lock })
    expect(images[0]).not.toHaveProperty('referrers')
    expect(requires).toEqual([])
  })

  test('[attack: referrer-of-another-image] one that was edited to show another image’s signature is refused', async () => {
    const { host } = await source()
    const lock = await resolve({ images: [`${host}/app:1`] })
    const [app] = lock.images
    const sbom = app?.referrers?.find(({ digest }) => digest === all.sbom.descriptor.digest)
    sbom!.subject = all.index.descriptor.digest
    const error = await failure(planned({ lock }))
    expect(error.code).toBe('INVALID_LOCK')
    expect(error.message).toContain(`it refers to ${all.arm64.descriptor.digest}`)
    sbom!.subject = all.arm64.descriptor.digest
    sbom!.artifactType = 'application/vnd.cncf.notary.signature'
    expect((await failure(planned({ lock }))).message).toContain('its artifactType in the lock')
  })

  test('gives the same bundle whoever asks in which order', async () => {
    const { host } = await source()
    const images = [`${host}/app:1`]
    const one = await planned({ images, concurrency: 1 })
    const many = await planned({ images, concurrency: 20 })
    expect(many.images).toEqual(one.images)
  })
})
