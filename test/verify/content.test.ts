import { describe, expect, test } from 'vitest'
import {
  AMD64,
  ARM64,
  ARM_V7,
  buildIndex,
  buildkitIndex,
  helmChart,
  image,
  singleManifest,
  type Built,
} from '../../fixtures/images/index.ts'
import type { BundleDescription } from '../../src/bundle/description.ts'
import { blobName } from '../../src/bundle/names.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { canonicalJson } from '../../src/oci/json.ts'
import { OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { bundleOf, contentEntries, draftOf, replaceBlob, type Draft } from '../support/build-bundle.ts'
import { expectRefusal, problemsOf } from './check-bundle.ts'

/**
 * Everything here is signed by the key that is trusted: the list of digests is right, and what it lists is not
 * what it says. So a bundle means one thing to us and to every other reader, whoever signed it.
 */
const SOURCE = 'example.test/app:1.0'
const DISAGREES = 'other tools would find other content'

async function single(): Promise<Draft> {
  return draftOf([{ source: SOURCE, built: await singleManifest() }])
}

async function subset(): Promise<{ draft: Draft; built: Built }> {
  const built = await buildkitIndex('three', [AMD64, ARM64, ARM_V7])
  return {
    built,
    draft: await draftOf([{ source: SOURCE, built, platforms: ['linux/amd64', 'linux/arm64'] }]),
  }
}

function imageOf(draft: Draft, i = 0): BundleDescription['images'][number] {
  const found = draft.description.images[i]
  if (!found) throw new Error(`no image ${i}`)
  return found
}

function fileOf(draft: Draft, name: string): string {
  const found = contentEntries(draft).find((one) => one.name === name)
  if (!found) throw new Error(`no ${name}`)
  return Buffer.from(found.content).toString()
}

type Json = Record<string, unknown>

/** Changes the one manifest of a draft made by {@link single}, and all that names it. */
function changeManifest(
  draft: Draft,
  change: (manifest: Json & { config: Json; layers: Json[] }) => void,
): Digest {
  const old = imageOf(draft).digest
  const manifest = JSON.parse(Buffer.from(draft.blobs.get(old)?.bytes ?? '').toString()) as Parameters<
    typeof change
  >[0]
  change(manifest)
  return replaceBlob(draft, old, Buffer.from(JSON.stringify(manifest)))
}

/** The manifest's text, changed as text. */
function changeManifestText(draft: Draft, change: (text: string) => string): Digest {
  const old = imageOf(draft).digest
  const text = Buffer.from(draft.blobs.get(old)?.bytes ?? '').toString()
  const changed = change(text)
  expect(changed).not.toBe(text)
  return replaceBlob(draft, old, Buffer.from(changed))
}

describe('index.json, manifest.json and oci-layout follow from airgap.json', () => {
  const edits: [name: string, what: string, change: (text: string) => string][] = [
    ['index.json', 'another name', (text) => text.replaceAll('app:1.0', 'app:2.0')],
    [
      'index.json',
      'only the name that skopeo reads',
      (text) => text.replace(/("org[^"]+name": ")[^"]+/, '$1example.test/evil:1'),
    ],
    [
      'index.json',
      'only the name that containerd reads',
      (text) => text.replace(/("io[^"]+name": ")[^"]+/, '$1example.test/evil:1'),
    ],
    [
      'index.json',
      'another digest',
      (text) => text.replace(/sha256:[0-9a-f]{64}/, `sha256:${'0'.repeat(64)}`),
    ],
    ['index.json', 'another size', (text) => text.replace(/"size": \d+/, '"size": 1')],
    ['index.json', 'another media type', (text) => text.replace(OCI_MANIFEST, OCI_INDEX)],
    ['index.json', 'no image', () => '{"schemaVersion":2,"manifests":[]}'],
    [
      'index.json',
      'a second image',
      (text) =>
        JSON.stringify({
          ...(JSON.parse(text) as Json),
          manifests: Array(2).fill((JSON.parse(text) as { manifests: Json[] }).manifests[0]),
        }),
    ],
    ['index.json', 'another spelling', (text) => `${text}\n`],
    [
      'index.json',
      'a key twice',
      (text) => text.replace('"schemaVersion": 2', '"schemaVersion": 2,\n  "manifests": []'),
    ],
    ['manifest.json', 'another tag', (text) => text.replace('app:1.0', 'app:evil')],
    [
      'manifest.json',
      'another config',
      (text) => text.replace(/blobs\/sha256\/[0-9a-f]{64}/, 'blobs/sha256/../../etc/passwd'),
    ],
    ['manifest.json', 'no layers', (text) => text.replace(/"Layers": \[[^\]]*\]/, '"Layers": []')],
    ['manifest.json', 'nothing', () => '[]\n'],
    ['oci-layout', 'another version', (text) => text.replace('1.0.0', '2.0.0')],
    ['oci-layout', 'another spelling', (text) => text.trim()],
  ]
  test.each(edits)('%s with %s', async (name, _, change) => {
    const draft = await single()
    const text = fileOf(draft, name)
    draft.files[name] = Buffer.from(change(text))
    expect(draft.files[name]).not.toEqual(Buffer.from(text))
    const words = name === 'oci-layout' ? 'it does not agree with the format' : DISAGREES
    await expectRefusal(bundleOf(draft), name, words)
  })

  test('manifest.json missing, or there without anything that Docker can load', async () => {
    const draft = await single()
    draft.files['manifest.json'] = undefined
    await expectRefusal(bundleOf(draft), 'manifest.json', 'it is missing, although airgap.json names images')
    const chart = await draftOf([{ source: 'example.test/chart:1', built: await helmChart() }])
    chart.files['manifest.json'] = Buffer.from('[]\n')
    await expectRefusal(bundleOf(chart), 'manifest.json', DISAGREES)
  })
})

describe('airgap.json', () => {
  function retell(draft: Draft, change: (text: string) => string): Buffer {
    const text = fileOf(draft, 'airgap.json')
    const changed = change(text)
    expect(changed).not.toBe(text)
    draft.files['airgap.json'] = Buffer.from(changed)
    return bundleOf(draft)
  }

  const spellings: [what: string, change: (text: string) => string, words: string][] = [
    [
      'without indent',
      (text) => `${JSON.stringify(JSON.parse(text))}\n`,
      'not in the exact form that airgap writes',
    ],
    [
      'with four spaces',
      (text) => `${JSON.stringify(JSON.parse(text), null, 4)}\n`,
      'not in the exact form that airgap writes',
    ],
    ['without a newline at the end', (text) => text.trimEnd(), 'not in the exact form that airgap writes'],
    [
      'with another order of keys',
      (text) =>
        `${JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(text) as Json).toReversed()), null, 2)}\n`,
      'not in the exact form that airgap writes',
    ],
    [
      'with an escape that is not needed',
      (text) => text.replace('test.tar', '\\u0074est.tar'),
      'not in the exact form that airgap writes',
    ],
    [
      'with a number spelled otherwise',
      (text) => text.replace('"sequence": 7', '"sequence": 7.0'),
      'the whole number 7.0 is not written as one',
    ],
    [
      'with a key twice',
      (text) => text.replace('"sequence": 7', '"sequence": 7,\n  "sequence": 8'),
      'the key "sequence" occurs twice',
    ],
    [
      'with a key in another case',
      (text) => text.replace('"sequence": 7', '"Sequence": 8,\n  "sequence": 7'),
      'the key "Sequence" differs only in case',
    ],
    [
      'with an image’s key in another case',
      (text) => text.replace('"digest"', '"Digest": "x",\n      "digest"'),
      'the key "Digest" differs only in case',
    ],
    [
      'with a platform’s key in another case',
      (text) => text.replace('"platform": "', '"Platform": "x",\n          "platform": "'),
      'the key "Platform" differs only in case',
    ],
    [
      'with the tool’s key in another case',
      (text) => text.replace('"version": "0', '"Version": "9",\n    "version": "0'),
      'the key "Version" differs only in case',
    ],
    ['with a byte order mark', (text) => `\ufeff${text}`, 'it is not JSON'],
    [
      'with a number beyond 2^53',
      (text) => text.replace('"sequence": 7', '"sequence": 9007199254740993'),
      'is beyond 2^53',
    ],
    [
      'with a fraction',
      (text) => text.replace('"sequence": 7', '"sequence": 7.5'),
      'sequence: must be a whole number',
    ],
    [
      'with a negative sequence',
      (text) => text.replace('"sequence": 7', '"sequence": -1'),
      'sequence: must not be negative',
    ],
    [
      'of another type',
      (text) => text.replace('dev.airgap.bundle', 'dev.airgap.lock'),
      'type: must be dev.airgap.bundle',
    ],
    [
      'of a future format',
      (text) => text.replace('"formatVersion": "1.0"', '"formatVersion": "2.0"'),
      'this release reads format 1',
    ],
    [
      'that needs an unknown feature',
      (text) => text.replace('"requires": []', '"requires": [\n    "encryption"\n  ]'),
      'the bundle requires encryption',
    ],
    ['without a name', (text) => text.replace('"name": "test.tar"', '"name": ""'), 'name'],
    [
      'with a moment that does not exist',
      (text) => text.replace('2026-01-01T00', '2026-02-31T00'),
      'must be a moment',
    ],
    [
      'with an unqualified reference',
      (text) => text.replace(`"${SOURCE}"`, '"app"'),
      'must be a fully qualified image reference',
    ],
    ['with a SHA-512 digest', (text) => text.replace('sha256:', 'sha512:'), 'must be sha256:'],
    [
      'with an image that is a list',
      (text) => text.replace('"kind": "image"', '"kind": [\n        "image"\n      ]'),
      'kind',
    ],
    ['that is no object', () => '[]\n', 'airgap.json'],
  ]
  test.each(spellings)('%s', async (_, change, words) => {
    await expectRefusal(retell(await single(), change), 'airgap.json', words)
  })

  test('with unknown fields, of a later release, is accepted', async () => {
    const draft = await single()
    const value = JSON.parse(fileOf(draft, 'airgap.json')) as Json & { images: Json[]; tool: Json }
    value.formatVersion = '1.7'
    value.later = { than: ['this'] }
    value.tool.commit = 'abc'
    for (const one of value.images) one.later = true
    draft.files['airgap.json'] = canonicalJson(value)
    expect(await problemsOf(bundleOf(draft))).toEqual([])
  })

  const LOG_ENTRY = { logId: 'ab'.repeat(32), logIndex: '7' }
  const twice: [what: string, change: (value: Json & { images: Json[] }) => void, words: string][] = [
    [
      'a feature',
      (value) => (value.requires = ['referrers', 'referrers']),
      'requires: names "referrers" twice',
    ],
    [
      'a platform that was asked for',
      (value) => (value.platforms = ['linux/amd64', 'linux/arm64', 'linux/amd64']),
      'platforms: names "linux/amd64" twice',
    ],
    [
      'a platform of an image',
      ({ images: [one] }) => (one!.platforms = [one!.platforms, one!.platforms].flat()),
      'images.0.platforms: names linux/amd64 sha256:',
    ],
    [
      'a log entry',
      ({ images: [one] }) =>
        (one!.upstream = {
          state: 'verified',
          rule: { pattern: '*' },
          subject: one!.digest,
          signature: {
            manifest: one!.digest,
            form: 'sigstore-bundle',
            identity: 'a@example.test',
            issuer: 'https://example.test',
            logEntries: [LOG_ENTRY, LOG_ENTRY],
          },
        }),
      'logEntries: must be sorted by log and index, without duplicates',
    ],
  ]
  test.each(twice)('with %s listed twice', async (_, change, words) => {
    const draft = await single()
    const value = JSON.parse(fileOf(draft, 'airgap.json')) as Json & { images: Json[] }
    change(value)
    draft.files['airgap.json'] = canonicalJson(value)
    await expectRefusal(bundleOf(draft), 'airgap.json', words)
  })

  const lies: [what: string, change: (draft: Draft) => void, entry: string, words: string][] = [
    ['another size', (draft) => void (imageOf(draft).size += 1), SOURCE, 'size says'],
    ['another kind', (draft) => void (imageOf(draft).kind = 'artifact'), SOURCE, 'kind says "artifact"'],
    [
      'another platform',
      (draft) =>
        void (imageOf(draft).platforms[0] = { platform: 'linux/s390x', digest: imageOf(draft).digest }),
      SOURCE,
      'platforms says',
    ],
    ['no platform', (draft) => void (imageOf(draft).platforms = []), SOURCE, 'platforms says'],
    [
      'another media type',
      (draft) => void (imageOf(draft).mediaType = OCI_INDEX),
      SOURCE,
      'but it was announced as',
    ],
    [
      'a digest that is not there',
      (draft) => void (imageOf(draft).digest = imageOf(draft).sourceDigest = digestOf('x')),
      SOURCE,
      'is missing or altered',
    ],
    [
      'a source that is not there',
      (draft) => void (imageOf(draft).sourceDigest = digestOf('x')),
      SOURCE,
      'is missing or altered',
    ],
  ]
  test.each(lies)('an image with %s', async (_, change, entry, words) => {
    const draft = await single()
    change(draft)
    await expectRefusal(bundleOf(draft), entry, words)
  })

  test('two images with one name', async () => {
    const [left, right] = [await singleManifest(), await singleManifest('docker')]
    const draft = await draftOf([
      { source: SOURCE, built: left },
      { source: `${SOURCE}@${right.descriptor.digest}`, built: right },
    ])
    await expectRefusal(
      bundleOf(draft),
      'airgap.json',
      /app:1\.0: .* gives it sha256:.*, .* gives it sha256:/,
    )
    const twice = await single()
    twice.description.images.push(imageOf(twice))
    await expectRefusal(bundleOf(twice), 'airgap.json', 'it is listed twice')
  })

  test('images out of order, an image left out, an image too many', async () => {
    const images = [
      { source: 'example.test/a:1', built: await singleManifest() },
      { source: 'example.test/b:1', built: await helmChart() },
    ]
    const reversed = await draftOf(images)
    reversed.description.images.reverse()
    await expectRefusal(bundleOf(reversed), 'airgap.json', 'its images are not in order')

    const whole = await draftOf(images)
    for (const name of ['index.json', 'manifest.json']) whole.files[name] = Buffer.from(fileOf(whole, name))
    whole.description.images.pop()
    const chart = images[1]?.built.descriptor.digest ?? digestOf('')
    await expectRefusal(bundleOf(whole), 'index.json', DISAGREES)
    await expectRefusal(bundleOf(whole), blobName(chart), 'no image of the bundle needs it')
  })
})

describe('what the caller expects', () => {
  test('name, sequence, expiry and digest', async () => {
    const draft = await single()
    draft.description.expires = '2026-06-01T00:00:00Z'
    const bytes = bundleOf(draft)
    const before = Date.parse('2026-05-31T23:59:59Z')
    expect(await problemsOf(bytes, { now: before, expectName: 'test.tar', minSequence: 7 })).toEqual([])
    await expectRefusal(
      bytes,
      'airgap.json',
      "the bundle expired at 2026-06-01T00:00:00Z: this machine's clock says 2",
    )
    await expectRefusal(bytes, 'airgap.json', '"test.tar", not "other.tar" as expected', {
      now: before,
      expectName: 'other.tar',
    })
    await expectRefusal(bytes, 'airgap.json', 'sequence is 7, but at least 8 is expected', {
      now: before,
      minSequence: 8,
    })
    await expectRefusal(bytes, 'SHA256SUMS', 'not the bundle that was approved', {
      now: before,
      expectDigest: digestOf('x'),
    })
  })

  test('all faults are reported together', async () => {
    const draft = await single()
    draft.files['oci-layout'] = Buffer.from('{}')
    draft.files['index.json'] = Buffer.from('{}')
    const extra = Buffer.from('extra')
    draft.blobs.set(digestOf(extra), { bytes: extra, first: false })
    const problems = await problemsOf(bundleOf(draft), { expectName: 'x', minSequence: 9 })
    expect(problems.map(({ entry }) => entry)).toEqual([
      'airgap.json',
      'airgap.json',
      'oci-layout',
      'index.json',
      blobName(digestOf(extra)),
    ])
  })
})

describe('manifests', () => {
  const changes: [what: string, change: (draft: Draft) => Digest, words: string][] = [
    [
      'that is an index too',
      (draft) => changeManifest(draft, (one) => void (one.manifests = [])),
      'both as an index and as a manifest',
    ],
    [
      'of schema 1',
      (draft) => changeManifest(draft, (one) => void (one.schemaVersion = 1)),
      'Docker schema 1',
    ],
    [
      'of another media type',
      (draft) => changeManifest(draft, (one) => void (one.mediaType = OCI_INDEX)),
      'does not match its content',
    ],
    [
      'of an unknown media type',
      (draft) => changeManifest(draft, (one) => void (one.mediaType = 'text/html')),
      'does not match its content',
    ],
    [
      'with a key twice',
      (draft) => changeManifestText(draft, (text) => text.replace('"layers":', '"layers":[],"layers":')),
      'the key "layers" occurs twice',
    ],
    [
      'with a key in another case',
      (draft) => changeManifestText(draft, (text) => text.replace('"layers":', '"Layers":[],"layers":')),
      'the key "Layers" differs only in case',
    ],
    [
      'with a key that Go folds',
      (draft) => changeManifestText(draft, (text) => text.replace('"layers":', '"layer\u017f":[],"layers":')),
      'differs only in case',
    ],
    [
      'with a descriptor’s key in another case',
      (draft) => changeManifestText(draft, (text) => text.replace('"digest":', '"DIGEST":"x","digest":')),
      'the key "DIGEST" differs only in case',
    ],
    [
      'with a number beyond 2^53',
      (draft) => changeManifest(draft, (one) => void (one.config.size = 2 ** 60)),
      'is beyond 2^53',
    ],
    [
      'with a negative size',
      (draft) => changeManifest(draft, (one) => void (one.config.size = -1)),
      'a size is not negative',
    ],
    [
      'with a path for a digest',
      (draft) => changeManifest(draft, (one) => void (one.config.digest = 'sha256:../../etc/passwd')),
      'sha256 is followed by exactly 64',
    ],
    [
      'with a digest in capitals',
      (draft) =>
        changeManifest(draft, (one) => void (one.config.digest = String(one.config.digest).toUpperCase())),
      'config.digest',
    ],
    [
      'with data that is not its digest’s',
      (draft) => changeManifest(draft, (one) => void (one.config.data = 'e30=')),
      'embedded data is not what its digest says',
    ],
    [
      'nested too deep',
      (draft) => changeManifest(draft, (one) => void (one.deep = deep(70))),
      'nested deeper than 64 levels',
    ],
    ['that is not JSON', (draft) => changeManifestText(draft, () => 'not JSON'), 'it is not JSON'],
    ['that is a list', (draft) => changeManifestText(draft, () => '[]'), 'it is not a JSON object'],
  ]
  test.each(changes)('one %s', async (_, change, words) => {
    const draft = await single()
    change(draft)
    await expectRefusal(bundleOf(draft), SOURCE, words)
  })

  test('one whose descriptor gives another size than the blob has', async () => {
    const draft = await single()
    let layer = ''
    changeManifest(draft, ({ layers: [first] }) => {
      if (!first) return
      first.size = Number(first.size) + 1
      layer = String(first.digest)
    })
    imageOf(draft).size += 1
    await expectRefusal(
      bundleOf(draft),
      blobName(layer as Digest),
      /it has \d+ bytes, but its manifest says \d+/,
    )
  })

  test('one that gives one digest two sizes', async () => {
    const draft = await single()
    changeManifest(draft, ({ layers }) => {
      layers.push({ ...layers[0], size: 1 })
    })
    await expectRefusal(bundleOf(draft), SOURCE, 'is given two sizes')
  })

  test('one that needs a blob which is not there', async () => {
    const draft = await single()
    const ghost = digestOf('ghost')
    const before = draft.blobs.get(imageOf(draft).digest)?.bytes.length ?? 0
    const digest = changeManifest(draft, ({ layers }) => {
      layers.push({ mediaType: 'text/plain', digest: ghost, size: 5 })
    })
    imageOf(draft).size += 5 + (draft.blobs.get(digest)?.bytes.length ?? 0) - before
    await expectRefusal(bundleOf(draft), blobName(ghost), 'it is needed, but the bundle does not have it')
  })

  test('a blob that none needs', async () => {
    const draft = await single()
    const extra = Buffer.from('something that came along')
    draft.blobs.set(digestOf(extra), { bytes: extra, first: false })
    await expectRefusal(bundleOf(draft), blobName(digestOf(extra)), 'no image of the bundle needs it')
  })
})

describe('indexes', () => {
  test('a source index that is not there', async () => {
    const { draft, built } = await subset()
    draft.blobs.delete(built.descriptor.digest)
    await expectRefusal(bundleOf(draft), SOURCE, 'is missing or altered')
  })

  test('a delivered manifest that the source index does not have', async () => {
    const built = await buildkitIndex()
    const draft = await draftOf([{ source: SOURCE, built, platforms: ['linux/amd64'] }])
    const evil = await draftOf([{ source: SOURCE, built: await image('evil', AMD64) }])
    for (const [digest, blob] of evil.blobs) draft.blobs.set(digest, blob)
    draft.description.images = [{ ...imageOf(evil), sourceDigest: built.descriptor.digest }]
    await expectRefusal(bundleOf(draft), SOURCE, 'is not what its platforms select from')
  })

  test('a derived index with a child that the source does not have', async () => {
    const { draft } = await subset()
    const evil = await image('evil', ARM64)
    const evilDraft = await draftOf([{ source: SOURCE, built: evil }])
    for (const [digest, blob] of evilDraft.blobs) draft.blobs.set(digest, blob)
    const old = imageOf(draft).digest
    const index = JSON.parse(Buffer.from(draft.blobs.get(old)?.bytes ?? '').toString()) as {
      manifests: Json[]
    }
    index.manifests[1] = { ...evil.descriptor }
    replaceBlob(draft, old, Buffer.from(JSON.stringify(index)))
    await expectRefusal(bundleOf(draft), SOURCE, 'is not what its platforms select from')
  })

  test('a derived index that says something else than its source', async () => {
    for (const change of [
      (index: Json) => void (index.annotations = { 'dev.airgap.source.digest': digestOf('x') }),
      (index: Json) => void (index.annotations = {}),
      (index: Json) => void (index.artifactType = 'x'),
      (index: Json) => void (index.manifests = (index.manifests as Json[]).toReversed()),
      (index: Json) => void Object.assign((index.manifests as Json[])[0] ?? {}, { annotations: { a: 'b' } }),
      (index: Json) =>
        void Object.assign((index.manifests as Json[])[0] ?? {}, {
          platform: { os: 'linux', architecture: 's390x' },
        }),
    ]) {
      const { draft } = await subset()
      const old = imageOf(draft).digest
      const index = JSON.parse(Buffer.from(draft.blobs.get(old)?.bytes ?? '').toString()) as Json
      change(index)
      replaceBlob(draft, old, Buffer.from(JSON.stringify(index)))
      await expectRefusal(bundleOf(draft), SOURCE, 'is not what its platforms select from')
    }
  })

  test('a child of the delivered index that is not there', async () => {
    const built = await buildkitIndex()
    const draft = await draftOf([{ source: SOURCE, built }])
    const child = built.kind === 'index' ? built.children[1]?.descriptor.digest : undefined
    if (!child) throw new Error('no child')
    draft.blobs.delete(child)
    await expectRefusal(bundleOf(draft), SOURCE, `${blobName(child)} is missing or altered`)
  })

  test('a child whose descriptor gives another size or media type', async () => {
    for (const [change, words] of [
      [{ size: 5 }, 'but its descriptor says 5'],
      [{ mediaType: OCI_INDEX }, 'but it was announced as'],
      [{ mediaType: 'text/plain' }, 'which is neither a manifest nor an index'],
    ] as const) {
      const built = await buildkitIndex()
      const draft = await draftOf([{ source: SOURCE, built }])
      const index = JSON.parse(Buffer.from(built.bytes).toString()) as { manifests: Json[] }
      Object.assign(index.manifests[0] ?? {}, change)
      replaceBlob(draft, built.descriptor.digest, Buffer.from(JSON.stringify(index)))
      await expectRefusal(bundleOf(draft), SOURCE, words)
    }
  })

  test('[duty: bounded] that list one another a billion times are walked once each: the fault behind them is found soon', async () => {
    let built: Built = await singleManifest()
    const draft = await draftOf([{ source: SOURCE, built }])
    for (let i = 0; i < 8; i += 1) {
      built = buildIndex(Array.from({ length: 100 }, () => built))
      draft.blobs.set(built.descriptor.digest, { bytes: built.bytes, first: true })
    }
    Object.assign(imageOf(draft), {
      digest: built.descriptor.digest,
      sourceDigest: built.descriptor.digest,
      mediaType: OCI_INDEX,
    })
    await expectRefusal(bundleOf(draft), SOURCE, 'size says')
  })

  test('platforms that read as others when they are written in one line', async () => {
    const draft = await draftOf([{ source: SOURCE, built: await buildkitIndex() }])
    const [first, second] = imageOf(draft).platforms
    if (!first || !second) throw new Error('no platforms')
    imageOf(draft).platforms = [
      { platform: `${first.platform} ${first.digest},${second.platform}`, digest: second.digest },
    ]
    await expectRefusal(bundleOf(draft), SOURCE, 'platforms says')
  })

  test('nested too deep', async () => {
    let built: Built = await singleManifest()
    for (let i = 0; i < 8; i += 1) built = buildIndex([built])
    const good = await draftOf([{ source: SOURCE, built }])
    expect(await problemsOf(bundleOf(good))).toEqual([])
    const deeper = buildIndex([built])
    good.blobs.set(deeper.descriptor.digest, { bytes: deeper.bytes, first: true })
    imageOf(good).digest = imageOf(good).sourceDigest = deeper.descriptor.digest
    await expectRefusal(bundleOf(good), SOURCE, 'nested deeper than 8 levels')
  })
})

function deep(levels: number): unknown {
  let value: unknown = 1
  for (let i = 0; i < levels; i += 1) value = [value]
  return value
}
