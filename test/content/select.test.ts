import { describe, expect, it } from 'vitest'
import {
  armIndex,
  buildIndex,
  buildkitIndex,
  dockerList,
  helmChart,
  image,
  indexWithPlatformlessChild,
  nestedIndex,
  singleManifest,
  umociIndex,
  windowsIndex,
  AMD64,
  ARM64,
  ARM_V7,
  type Built,
} from '../../fixtures/images/index.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { ManifestOrIndex } from '../../src/oci/manifest.ts'
import { OCI_INDEX } from '../../src/oci/media-types.ts'
import { AirgapError } from '../../src/errors.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import { nodeOf } from '../../src/content/graph.ts'
import { derive, repeatSelection, selectPlatforms, type SelectOptions } from '../../src/content/select.ts'
import { childDigests, Documents, plainIndex, plainManifest, select } from '../support/documents.ts'

describe('a tag, delivered unchanged', () => {
  it('when all platforms are wanted', async () => {
    const { delivered, evidence, listed, source } = await select(await buildkitIndex(), 'all')
    expect(delivered).toBe(source)
    expect(evidence).toEqual([])
    expect(listed).toEqual(['linux/amd64', 'linux/arm64'])
  })

  it('when every runnable platform of it is wanted, attestations included', async () => {
    const { delivered, source } = await select(await buildkitIndex(), ['linux/arm64', 'linux/amd64'])
    expect(delivered).toBe(source)
  })

  it('when it has one platform and attestations, and that one is wanted', async () => {
    const { delivered, source } = await select(await buildkitIndex('one', [AMD64]), ['linux/amd64'])
    expect(delivered).toBe(source)
  })

  it('when it is a single manifest whose config is what is wanted', async () => {
    const { delivered, source, listed } = await select(await singleManifest('docker'), ['linux/amd64'])
    expect(delivered).toBe(source)
    expect(listed).toEqual(['linux/amd64'])
  })

  it('when it is an artifact, whatever is wanted', async () => {
    const { delivered, source, listed } = await select(await helmChart(), ['linux/s390x'])
    expect(delivered).toBe(source)
    expect(listed).toEqual([])
  })

  it('when it is an index of artifacts', async () => {
    const { delivered, source } = await select(buildIndex([await helmChart(), await helmChart('other')]), [
      'linux/amd64',
    ])
    expect(delivered).toBe(source)
  })
})

describe('a tag, one platform wanted out of several', () => {
  it('is that child itself, and the source index is kept', async () => {
    const built = await dockerList()
    const { delivered, evidence, source, listed } = await select(built, ['linux/arm64'])
    expect(delivered.digest).toBe(built.children[1]?.descriptor.digest)
    expect(delivered.kind).toBe('manifest')
    expect(evidence).toEqual([nodeOf(source)])
    expect(listed).toEqual(['linux/arm64'])
  })

  it('leaves BuildKit attestations out, because they belong to an index', async () => {
    const built = await buildkitIndex()
    const { delivered } = await select(built, ['linux/amd64'])
    expect(delivered.digest).toBe(built.children[0]?.descriptor.digest)
  })

  it.each([
    ['linux/arm', 'linux/arm/v7'],
    ['linux/arm/v6', 'linux/arm/v6'],
    ['linux/arm64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
  ])('takes %s of the arm variants for exactly %s', async (wanted, listed) => {
    const selection = await select(await armIndex(), [wanted])
    expect(selection.delivered.kind).toBe('manifest')
    expect(selection.listed).toEqual([listed])
  })

  it('descends a nested index, and keeps both indexes as evidence', async () => {
    const built = await nestedIndex()
    const { delivered, evidence, documents } = await select(built, ['linux/arm64'])
    const inner = documents.get(built.children[0]?.descriptor.digest ?? '')
    expect(delivered.digest).toBe(childDigests(inner)[1])
    expect(evidence.map(({ digest }) => digest)).toEqual([built.descriptor.digest, inner.digest])
  })
})

describe('a tag, several platforms but not all', () => {
  it('is an index of the kept children, verbatim and in source order, with the source named', async () => {
    const built = await buildkitIndex('three', [AMD64, ARM_V7, ARM64])
    const { delivered, evidence, source, listed } = await select(built, ['linux/arm64', 'linux/amd64'])
    const original = (source as Extract<ManifestOrIndex, { kind: 'index' }>).manifests
    if (delivered.kind !== 'index') throw new Error('not an index')
    // amd64, arm64, and the attestation of each.
    expect(delivered.manifests).toEqual([original[0], original[2], original[3], original[5]])
    expect(delivered.mediaType).toBe(OCI_INDEX)
    expect(delivered.subject).toBeUndefined()
    expect(delivered.annotations?.['dev.airgap.source.digest']).toBe(source.digest)
    expect(evidence).toEqual([nodeOf(source)])
    expect(listed).toEqual(['linux/amd64', 'linux/arm64'])
  })

  it('keeps every build of Windows for an architecture', async () => {
    const { delivered, listed } = await select(await windowsIndex(), ['windows/amd64'])
    expect(childDigests(delivered)).toHaveLength(3)
    expect(listed.every((platform) => platform.startsWith('windows('))).toBe(true)
  })

  it('keeps one build of Windows when it is named', async () => {
    const { delivered, listed } = await select(await windowsIndex(), ['windows(10.0.20348)/amd64'])
    expect(delivered.kind).toBe('manifest')
    expect(listed).toEqual(['windows(10.0.20348.3692)/amd64'])
  })

  it('keeps children without a platform', async () => {
    const built = await indexWithPlatformlessChild()
    const { delivered } = await select(built, ['linux/amd64'])
    expect(childDigests(delivered)).toEqual(
      [built.children[0], built.children[2]].map((one) => one?.descriptor.digest),
    )
  })

  it('reads the platform of a runnable child without one from its config', async () => {
    const child = await image('bare', AMD64)
    const { platform: _platform, ...descriptor } = child.descriptor
    const built = buildIndex([{ ...child, descriptor }, await image('arm', ARM64)])
    expect((await select(built, ['linux/amd64'])).listed).toEqual(['linux/amd64'])
  })

  it('moves the kept children of a nested index up, and keeps a whole nested index as it is', async () => {
    const inner = buildIndex([await image('a', AMD64), await image('b', ARM_V7)])
    const whole = buildIndex([await image('c', ARM64)])
    const built = buildIndex([inner, whole])
    const { delivered, evidence } = await select(built, ['linux/amd64', 'linux/arm64'])
    expect(childDigests(delivered)).toEqual([inner.children[0]?.descriptor.digest, whole.descriptor.digest])
    expect(evidence.map(({ digest }) => digest)).toEqual([built.descriptor.digest, inner.descriptor.digest])
  })

  it('also from an index that states no media type', async () => {
    const built = await umociIndex()
    expect((await select(built, ['linux/amd64'])).delivered.digest).toBe(built.children[0]?.descriptor.digest)
  })

  it('has a serialisation that never changes', async () => {
    const amd64 = plainManifest({ os: 'linux', architecture: 'amd64' })
    const arm64 = plainManifest({ os: 'linux', architecture: 'arm64', variant: 'v8' })
    const s390x = plainManifest({ os: 'linux', architecture: 's390x' })
    const source = plainIndex(
      // A key that we know nothing of, and the order of keys, are kept.
      [amd64.descriptor, Object.assign({ size: 0, 'x-extra': 1 }, arm64.descriptor), s390x.descriptor],
      { annotations: { b: '2', a: 'ä' }, subject: amd64.descriptor },
    )
    const load = async (): Promise<ManifestOrIndex> => source
    const { delivered } = await derive(source, new Set([amd64.descriptor.digest, arm64.descriptor.digest]), {
      load,
      configPlatform: async () => undefined,
      what: 'golden',
    })
    expect(Buffer.from(delivered.bytes).toString()).toBe(
      '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[' +
        `{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"${amd64.descriptor.digest}","size":${amd64.descriptor.size},"platform":{"os":"linux","architecture":"amd64"}},` +
        `{"size":${arm64.descriptor.size},"x-extra":1,"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"${arm64.descriptor.digest}","platform":{"os":"linux","architecture":"arm64","variant":"v8"}}` +
        `],"annotations":{"a":"ä","b":"2","dev.airgap.source.digest":"${source.digest}"}}`,
    )
    expect(delivered.digest).toBe(GOLDEN)
    expect(delivered.digest).toBe(digestOf(delivered.bytes))
  })
})

/** Changing the serialisation would change what clusters find under a tag: this value must stay. */
const GOLDEN = 'sha256:4283af627590b24041e1605394423dd14a0df5496b9545f0bf26019c21aada1c'

describe('a reference with a digest', () => {
  it('is delivered under exactly that digest, all platforms', async () => {
    const { delivered, source, listed } = await select(await dockerList(), ['linux/arm64'], {
      isPinned: true,
    })
    expect(delivered).toBe(source)
    expect(listed).toEqual(['linux/amd64', 'linux/arm64'])
  })

  it('is cut down with --rewrite-digests', async () => {
    const { delivered } = await select(await dockerList(), ['linux/arm64'], {
      isPinned: true,
      rewriteDigests: true,
    })
    expect(delivered.kind).toBe('manifest')
  })
})

describe('a platform that the image does not have', () => {
  it('is an error that names the image and what it has', async () => {
    await expect(select(await dockerList(), ['linux/amd64', 'linux/s390x'])).rejects.toThrow(
      'the image does not have linux/s390x; it has linux/amd64, linux/arm64',
    )
  })

  it('is an error for a single manifest too, by its own config', async () => {
    await expect(select(await singleManifest('oci', ARM64), ['linux/amd64'])).rejects.toThrow(
      'the image has none of the platforms asked for (linux/amd64); it has linux/arm64',
    )
  })

  it('is told and left out with --allow-missing-platform', async () => {
    const options = { allowMissing: true }
    const { delivered, missing } = await select(await dockerList(), ['linux/amd64', 'linux/s390x'], options)
    expect(delivered.kind).toBe('manifest')
    expect(missing).toEqual([{ os: 'linux', architecture: 's390x' }])
  })

  it('is an error all the same when nothing would be left', async () => {
    await expect(select(await dockerList(), ['linux/s390x'], { allowMissing: true })).rejects.toThrow(
      'none of the platforms',
    )
  })

  it('does not take amd64 for amd64/v2', async () => {
    await expect(select(await dockerList(), ['linux/amd64/v2'])).rejects.toThrow('it has linux/amd64')
  })
})

describe('a lock is repeated', () => {
  it.each([
    ['the whole', 'all' as const],
    ['one child', ['linux/arm64']],
    ['several', ['linux/amd64', 'linux/arm64']],
  ])('to the same digest, platforms and evidence: %s', async (_name, wanted) => {
    const first = await select(await buildkitIndex('three', [AMD64, ARM_V7, ARM64]), wanted)
    const again = await repeatSelection(first.source, first.delivered.digest, first.platforms, {
      load: first.documents.load,
      configPlatform: first.documents.configPlatform,
      what: 'the image',
    })
    expect(again.delivered.digest).toBe(first.delivered.digest)
    expect(again.platforms).toEqual(first.platforms)
    expect(again.evidence).toEqual(first.evidence)
  })

  it('and refused when its digest is not what its platforms select', async () => {
    const { source, documents } = await select(await dockerList(), 'all')
    const other = digestOf('something else')
    const options = { load: documents.load, configPlatform: documents.configPlatform, what: 'the image' }
    await expect(repeatSelection(source, other, [], options)).rejects.toThrow(
      'is not what its platforms select',
    )
  })
})

describe('indexes that list one another over and over', () => {
  it('are descended once each', async () => {
    let built: Built = await image('deep', AMD64)
    for (let i = 0; i < 8; i += 1) built = buildIndex(Array.from({ length: 50 }, () => built))
    const { listed } = await select(built, ['linux/amd64'])
    expect(listed).toEqual(['linux/amd64'])
  })

  it('[duty: bounded] are refused when they are nested too deep', async () => {
    let built: Built = await image('deep', AMD64)
    for (let i = 0; i < 12; i += 1) built = buildIndex([built])
    await expect(select(built, ['linux/arm64'])).rejects.toThrow('nested deeper than')
  })
})

describe('one manifest that is listed for two platforms', () => {
  it('counts as the platform that was asked for, in the lock and when it is repeated', async () => {
    const child = await image('both', ARM_V7)
    const listed = (variant: string): Built => ({
      ...child,
      descriptor: { ...child.descriptor, platform: { os: 'linux', architecture: 'arm', variant } },
    })
    const built = buildIndex([listed('v6'), listed('v7'), await image('other', AMD64)])
    const first = await select(built, ['linux/arm/v7'])
    expect(first.listed).toEqual(['linux/arm/v7'])
    const again = await repeatSelection(first.source, first.delivered.digest, first.platforms, {
      load: first.documents.load,
      configPlatform: first.documents.configPlatform,
      what: 'the image',
    })
    expect(again.platforms).toEqual(first.platforms)
  })
})

describe('attestations that are listed and cannot be had', () => {
  async function lacking(lost: readonly number[], wanted: string[] | 'all' = 'all') {
    const built = await buildkitIndex('three', [AMD64, ARM_V7, ARM64])
    const gone = lost.map((i) => built.children[i]!.descriptor.digest)
    const documents = new Documents().add(built)
    const load: SelectOptions['load'] = async (descriptor) => {
      if (gone.includes(descriptor.digest)) throw new AirgapError('NOT_FOUND', 'gone')
      return documents.load(descriptor)
    }
    const source = documents.get(built.descriptor.digest)
    const options = { load, configPlatform: documents.configPlatform, what: 'the image' }
    const selection = await selectPlatforms(source, {
      ...options,
      wanted: wanted === 'all' ? wanted : wanted.map((text) => parsePlatform(text)),
      isPinned: false,
      rewriteDigests: false,
      allowMissing: false,
      allowMissingAttestations: true,
    })
    return { source, options, selection, gone, all: childDigests(source) }
  }

  it('are left out of a derived index, which comes out again when they are named', async () => {
    const { source, options, selection, gone, all } = await lacking([4])
    const { delivered, platforms, lost } = selection
    expect(lost).toEqual(gone)
    expect(childDigests(delivered)).toEqual(all.filter((digest) => !gone.includes(digest)))
    const again = await repeatSelection(source, delivered.digest, platforms, { ...options, lost })
    expect(again.delivered.digest).toBe(delivered.digest)
    const refused = 'is not what its platforms select'
    await expect(repeatSelection(source, delivered.digest, platforms, options)).rejects.toThrow(refused)
    // Only attestations can be missing, and a whole lacks none.
    const platform = [...lost, all[0]!]
    await expect(
      repeatSelection(source, delivered.digest, platforms, { ...options, lost: platform }),
    ).rejects.toThrow(refused)
    await expect(repeatSelection(source, source.digest, platforms, { ...options, lost })).rejects.toThrow(
      refused,
    )
  })

  it('change nothing where they belong to platforms that are not taken, or where none is missing', async () => {
    const { selection } = await lacking([4], ['linux/amd64', 'linux/arm64'])
    expect(selection.lost).toEqual([])
    const { selection: whole, source } = await lacking([])
    expect(whole.delivered).toBe(source)
  })
})
