import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { cosignManifest, referrerTo, simpleSigning, type BuiltImage } from '../../fixtures/images/index.ts'
import { contentOf } from '../../fixtures/images/content.ts'
import { parseDescription, serializeDescription } from '../../src/bundle/description.ts'
import {
  MAX_REFERRERS_OF_IMAGE,
  rooted,
  sortReferrers,
  unrooted,
  type ReferrerEntry,
} from '../../src/bundle/referrers.ts'
import { cosignTag, parseCosignTag } from '../../src/oci/cosign.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { bundleOf, draftOf, type Draft } from '../support/build-bundle.ts'
import { expectRefusal, problemsOf } from './check-bundle.ts'
import { signedImage, SPDX, type Signed } from '../support/attached.ts'

let all: Signed
beforeAll(async () => {
  all = await signedImage()
})

function entryFor(built: BuiltImage, subject: Digest, tag?: string): ReferrerEntry {
  const parts = new Map([built.config, ...built.layers].map((part) => [part.descriptor.digest, part.bytes]))
  const { artifactType } = JSON.parse(Buffer.from(built.bytes).toString()) as { artifactType?: string }
  return {
    subject,
    digest: built.descriptor.digest,
    mediaType: built.descriptor.mediaType,
    artifactType: artifactType ?? built.config.descriptor.mediaType,
    size: [...parts.values()].reduce((sum, { length }) => sum + length, built.bytes.length),
    ...(tag === undefined ? {} : { tag }),
  }
}

function add(draft: Draft, built: BuiltImage): void {
  draft.blobs.set(built.descriptor.digest, { bytes: built.bytes, first: true })
  draft.blobs.set(built.config.descriptor.digest, { bytes: built.config.bytes, first: true })
  for (const { descriptor, bytes } of built.layers) {
    if (!draft.blobs.has(descriptor.digest)) draft.blobs.set(descriptor.digest, { bytes, first: false })
  }
}

type Listed = readonly [built: BuiltImage, entry: ReferrerEntry]

const onTag = (built: BuiltImage, subject: Digest): Listed => [
  built,
  entryFor(built, subject, cosignTag(subject, 'sig')),
]

/** What a signer could sign: whatever is listed, with the content of it. */
async function draftWith(listed: readonly Listed[], more: { requires?: string[] } = {}): Promise<Draft> {
  const draft = await draftOf([{ source: 'example.test/app:1', built: all.index }], {
    requires: more.requires ?? ['referrers'],
  })
  const [app] = draft.description.images
  app!.referrers = sortReferrers(listed.map(([, entry]) => entry))
  for (const [built] of listed) add(draft, built)
  return draft
}

function honest(): Listed[] {
  const index = all.index.descriptor.digest
  return [
    onTag(all.sig, index),
    onTag(all.sigOfAmd64, all.amd64.descriptor.digest),
    [all.sigstore, entryFor(all.sigstore, index)],
    [all.sbom, entryFor(all.sbom, all.arm64.descriptor.digest)],
    [all.sigOfSbom, entryFor(all.sigOfSbom, all.sbom.descriptor.digest)],
  ]
}

const APP = 'example.test/app:1'

/** Refused for what the description says of the image, or for its form. */
async function refused(listed: readonly Listed[], words: string | RegExp): Promise<void> {
  await expectRefusal(bundleOf(await draftWith(listed)), /^(?:example\.test\/app:1|airgap\.json)$/, words)
}

test('an honest bundle is good', async () => {
  expect(await problemsOf(bundleOf(await draftWith(honest())))).toEqual([])
})

describe('a signed bundle is refused', () => {
  test('[attack: referrer-of-another-image] that shows another image’s signature', async () => {
    const other = await signedImage('other')
    const [index, arm64] = [all.index.descriptor.digest, all.arm64.descriptor.digest]
    await refused([[other.sigstore, entryFor(other.sigstore, index)]], 'it refers to')
    // Swapped subjects, each of this image.
    await refused(
      [
        [all.sigstore, entryFor(all.sigstore, arm64)],
        [all.sbom, entryFor(all.sbom, index)],
      ],
      'is not what the list says: it refers to',
    )
    // In truth about another image, and said so.
    const foreign = entryFor(other.sigstore, other.index.descriptor.digest)
    await refused([[other.sigstore, foreign]], 'refers to nothing in the image')
  })

  test('[attack: sig-tag-is-image] that passes an image off as a signature', async () => {
    const index = all.index.descriptor.digest
    await refused([onTag(all.arm64, index)], 'it is an image, with layers of files')
    await refused([onTag(all.att, index)], 'it holds no signature')
    const own = all.amd64.descriptor.digest
    await refused([onTag(all.amd64, own)], 'it is the very image')
  })

  test('with a tag that belongs to another digest, or is none of cosign’s', async () => {
    const [index, arm64] = [all.index.descriptor.digest, all.arm64.descriptor.digest]
    for (const tag of [cosignTag(arm64, 'sig'), 'latest', `${cosignTag(index, 'sig')}x`, '']) {
      await refused([[all.sig, entryFor(all.sig, index, tag)]], /tag/)
    }
  })

  test('with one listed twice, out of order, or an empty list', async () => {
    const [first, ...rest] = honest()
    const twice = await draftWith([first!, first!, ...rest])
    await expectRefusal(bundleOf(twice), 'airgap.json', 'without duplicates')
    const mixed = await draftWith(honest())
    mixed.description.images[0]!.referrers!.reverse()
    await expectRefusal(bundleOf(mixed), 'airgap.json', 'sorted')
    await refused([], 'must not be empty')
  })

  test.each([
    ['size', { size: 1 }],
    ['mediaType', { mediaType: 'application/vnd.docker.distribution.manifest.v2+json' }],
    ['artifactType', { artifactType: 'application/vnd.cncf.notary.signature' }],
    ['artifactType', { artifactType: undefined }],
  ])('with another %s than the document says', async (field, wrong) => {
    const entry = { ...entryFor(all.sbom, all.arm64.descriptor.digest), ...wrong }
    await refused([[all.sbom, JSON.parse(JSON.stringify(entry)) as ReferrerEntry]], `has another ${field}`)
  })

  test('that lacks a manifest or a blob of one, or holds what nothing needs', async () => {
    const { digest } = all.sbom.descriptor
    const without = await draftWith(honest())
    without.blobs.delete(digest)
    await expectRefusal(bundleOf(without), APP, `${digest.slice(7)} is missing`)
    const layer = all.sbom.layers[0]!.descriptor.digest
    const hollow = await draftWith(honest())
    hollow.blobs.delete(layer)
    await expectRefusal(bundleOf(hollow), `blobs/sha256/${layer.slice(7)}`, 'it is needed')
    const more = await draftWith(honest())
    const [app] = more.description.images
    app!.referrers = app!.referrers!.filter((one) => one.digest !== all.sigstore.descriptor.digest)
    await expectRefusal(bundleOf(more), /^blobs/, 'no image of the bundle needs it')
  })

  test('that lists what the image delivers by itself, or does not require the feature', async () => {
    const statement = referrerTo(all.amd64.descriptor, 'text/plain', 'inside')
    const { buildIndex } = await import('../../fixtures/images/index.ts')
    const draft = await draftOf([{ source: APP, built: buildIndex([all.amd64, statement]) }], {
      requires: ['referrers'],
    })
    draft.description.images[0]!.referrers = [entryFor(statement, all.amd64.descriptor.digest)]
    await expectRefusal(bundleOf(draft), APP, 'is already part of the image')
    const silent = await draftWith(honest(), { requires: [] })
    await expectRefusal(bundleOf(silent), 'airgap.json', 'does not list it under requires')
  })

  test('with a circle of two, which by their tags refer to each other', async () => {
    const [a, b] = [all.sig, all.sigOfAmd64]
    const circle = [onTag(a, b.descriptor.digest), onTag(b, a.descriptor.digest)]
    await refused(circle, 'refers to nothing in the image')
    // A circle that hangs on the image ends, too, and is no more than strange.
    const hung = [...circle, onTag(a, all.index.descriptor.digest)]
    expect(await problemsOf(bundleOf(await draftWith(hung)))).toEqual([])
  })

  test('with ten thousand of them, soon', async () => {
    const index = all.index.descriptor.digest
    const entry = entryFor(all.sigstore, index)
    const draft = await draftWith([])
    draft.description.images[0]!.referrers = Array.from({ length: 10_000 }, (_, i) => ({
      ...entry,
      digest: `sha256:${i.toString(16).padStart(64, '0')}` as const,
    }))
    await expectRefusal(bundleOf(draft), 'airgap.json', `has more than ${MAX_REFERRERS_OF_IMAGE} items`)
  })

  test('with keys that a careless reader could take for known ones', async () => {
    const draft = await draftWith(honest())
    const [first] = draft.description.images[0]!.referrers!
    Object.assign(first!, { Digest: all.att.descriptor.digest })
    await expectRefusal(bundleOf(draft), 'airgap.json', /Digest/)
  })
})

test('fields that later releases may add are kept and do no harm', async () => {
  const draft = await draftWith(honest())
  Object.assign(draft.description.images[0]!.referrers![0]!, { verified: { by: 'somebody' } })
  expect(await problemsOf(bundleOf(draft))).toEqual([])
  const bytes = serializeDescription(draft.description)
  expect(serializeDescription(parseDescription(bytes))).toEqual(bytes)
})

test('several signatures of one payload are one blob', async () => {
  const { digest } = all.index.descriptor
  const two = cosignManifest([simpleSigning(digest, 'by one'), simpleSigning(digest, 'by another')])
  expect(await problemsOf(bundleOf(await draftWith([onTag(two, digest)])))).toEqual([])
  const empty = cosignManifest([contentOf('text/plain', Buffer.alloc(0))])
  await refused([onTag(empty, digest)], 'it holds no signature')
})

const aDigest = fc.integer({ min: 0, max: 7 }).map((i): Digest => `sha256:${String(i).repeat(64)}`)

test('whatever refers to whatever: what leads to a root does so step by step, and all of it is found', () => {
  const entries = fc.array(fc.record({ subject: aDigest, digest: aDigest }), { maxLength: 30 })
  fc.assert(
    fc.property(entries, fc.array(aDigest, { maxLength: 2 }), (pairs, roots) => {
      const list = pairs.map((pair) => ({ ...pair, mediaType: SPDX, size: 1 }))
      const found = rooted(list, roots)
      const reached = new Set<Digest>(roots)
      for (const { subject, digest } of found) {
        expect(reached.has(subject)).toBe(true)
        reached.add(digest)
      }
      const rest = unrooted(list, roots)
      expect(rest.some(({ subject }) => reached.has(subject))).toBe(false)
      expect(found.length + rest.length).toBe(list.length)
    }),
  )
})

test('cosign’s tags are read as they are written, and nothing else is', () => {
  const hex = fc.stringMatching(/^[0-9a-f]{64}$/)
  fc.assert(
    fc.property(hex, fc.constantFrom('sig', 'att', 'sbom'), (digits, kind) => {
      const subject = `sha256:${digits}` as const
      expect(parseCosignTag(cosignTag(subject, kind))).toEqual({ subject, kind })
    }),
  )
  fc.assert(
    fc.property(fc.string(), (text) => {
      const parsed = parseCosignTag(text)
      if (parsed) expect(cosignTag(parsed.subject, parsed.kind)).toBe(text)
    }),
  )
  for (const tag of ['sha256-abc.sig', `sha256-${'A'.repeat(64)}.sig`, `sha256-${'a'.repeat(64)}.sig\n`]) {
    expect(parseCosignTag(tag)).toBeUndefined()
  }
})
