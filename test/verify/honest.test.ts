import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  AMD64,
  ARM64,
  ARM_V7,
  armIndex,
  assemble,
  buildIndex,
  buildkitIndex,
  dockerList,
  helmChart,
  image,
  indexWithPlatformlessChild,
  nestedIndex,
  referrerTo,
  singleManifest,
  umociIndex,
  windowsIndex,
  type Built,
} from '../../fixtures/images/index.ts'
import { readFile } from 'node:fs/promises'
import { OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { bundleOf, draftOf, packBundle, temporaryFolder } from '../support/build-bundle.ts'
import { problemsAt, problemsOf } from './check-bundle.ts'

const ONE = ['linux/amd64']
const TWO = ['linux/amd64', 'linux/arm64']

/** Nested indexes of which a choice of platforms opens one and needs nothing of the other. */
async function twoNestedIndexes(): Promise<Built> {
  return buildIndex([
    buildIndex([await image('left', AMD64), await image('left', ARM64)]),
    buildIndex([await image('right', ARM_V7)]),
  ])
}

async function oddPlatforms(): Promise<Built> {
  return buildIndex([
    await image('odd', AMD64),
    await image('odd', { os: 'linux', architecture: '' }),
    await image('odd', { os: 'linux', architecture: 'arm', variant: 'v7+neon, fast' }),
    await image('odd', { os: 'windows', architecture: 'amd64', 'os.version': '10.0 (preview)' }),
  ])
}

async function emptyBlobArtifact(): Promise<Built> {
  const empty = {
    descriptor: { mediaType: 'text/plain', digest: digestOf(''), size: 0 },
    bytes: Buffer.alloc(0),
  }
  const config = {
    descriptor: {
      mediaType: 'application/vnd.oci.empty.v1+json',
      digest: digestOf('{}'),
      size: 2,
      data: 'e30=',
    },
    bytes: Buffer.from('{}'),
  }
  return assemble({ mediaType: OCI_MANIFEST, artifactType: 'text/plain', config, layers: [empty] })
}

const shapes: [name: string, make: () => Promise<Built>, platforms: string[] | undefined][] = [
  ['a single OCI manifest', () => singleManifest('oci'), undefined],
  ['a single Docker manifest', () => singleManifest('docker'), ONE],
  ['an index, whole', () => buildkitIndex(), undefined],
  ['an index, one platform', () => buildkitIndex(), ONE],
  ['an index, two of three platforms', () => buildkitIndex('three', [AMD64, ARM64, ARM_V7]), TWO],
  ['a Docker list, two of three platforms', () => dockerList('three', [AMD64, ARM64, ARM_V7]), TWO],
  ['Windows builds', () => windowsIndex(), ['windows/amd64']],
  ['one Windows build', () => windowsIndex(), ['windows(10.0.20348)/amd64']],
  ['Arm variants', () => armIndex(), ['linux/arm/v6', 'linux/arm64']],
  ['a nested index, whole', () => nestedIndex(), undefined],
  ['a nested index, one platform', () => nestedIndex(), ONE],
  ['two nested indexes, one platform', () => twoNestedIndexes(), ONE],
  ['two nested indexes, a platform of each', () => twoNestedIndexes(), ['linux/amd64', 'linux/arm/v7']],
  ['two nested indexes, both of one', () => twoNestedIndexes(), TWO],
  ['an index without mediaType', () => umociIndex(), ONE],
  ['an index with a child without platform', () => indexWithPlatformlessChild(), ONE],
  ['a Helm chart', () => helmChart(), undefined],
  ['platforms that nobody would ask for', () => oddPlatforms(), undefined],
  ['platforms that nobody would ask for, beside one', () => oddPlatforms(), ONE],
  ['an empty blob and an embedded config', () => emptyBlobArtifact(), undefined],
]

describe('an honest bundle is good', () => {
  test.each(shapes)('%s', async (_, make, platforms) => {
    const path = join(await temporaryFolder(), 'bundle.tar')
    await packBundle(path, [{ reference: 'team/app:1.0', built: await make() }], {
      platforms: platforms ?? 'all',
    })
    expect(await problemsAt(path)).toEqual([])
  })

  test('the tests’ own draft is what the engines pack, byte for byte', async () => {
    const built = await buildkitIndex('three', [AMD64, ARM64, ARM_V7])
    const path = join(await temporaryFolder(), 'bundle.tar')
    await packBundle(path, [{ reference: 'team/app:1.0', built }], { platforms: TWO })
    const draft = await draftOf([{ source: 'example.test/team/app:1.0', built, platforms: TWO }])
    for (const one of draft.description.images) one.resolvedFrom = (await resolvedFrom(path)) ?? ''
    const [packed, drafted] = [await readFile(path), bundleOf(draft)]
    // The signature is another one each time; its length may differ by a few bytes, its blocks do not.
    expect(drafted.length).toBe(packed.length)
    expect(unsigned(drafted)).toEqual(unsigned(packed))
  })

  test('many images of all kinds in one bundle', async () => {
    const app = await buildkitIndex('app')
    const single = await singleManifest()
    const path = join(await temporaryFolder(), 'bundle.tar')
    await packBundle(path, [
      { reference: 'z/app:1.0', built: app },
      { reference: 'a/app:1.0', built: app },
      { reference: 'a/app:2.0', built: single },
      { reference: 'a/chart:0.1.0', built: await helmChart() },
      { reference: 'a/sbom:1', built: referrerTo(single.descriptor, 'text/plain', 'a bill of materials') },
      { reference: 'w/windows:1', built: await windowsIndex() },
    ])
    expect(await problemsAt(path)).toEqual([])
  })

  test('a reference with tag and digest, beside the tag alone', async () => {
    const built = await buildkitIndex()
    const draft = await draftOf([
      { source: 'example.test/app:1.0', built },
      { source: `example.test/app:1.0@${built.descriptor.digest}`, built },
    ])
    expect(await problemsOf(bundleOf(draft))).toEqual([])
  })

  test('no image at all', async () => {
    expect(await problemsOf(bundleOf(await draftOf([])))).toEqual([])
  })
})

async function resolvedFrom(path: string): Promise<string | undefined> {
  return /"resolvedFrom": "([^"]+)"/.exec((await readFile(path)).toString('latin1'))?.[1]
}

/** The bundle from `airgap.json` on. */
function unsigned(bytes: Buffer): Buffer {
  return bytes.subarray(bytes.indexOf('airgap.json\0'))
}
