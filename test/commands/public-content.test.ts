import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  AMD64,
  ARM64,
  ARM_V7,
  assemble,
  attestationFor,
  buildIndex,
  buildkitIndex,
  image,
  seedRegistry,
  type Built,
  type BuiltImage,
  type BuiltIndex,
} from '../../fixtures/images/index.ts'
import { contentOf, jsonBytes } from '../../fixtures/images/content.ts'
import { OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { scratch, session, type Session } from '../support/airgap.ts'
import { expectResult } from '../support/schemas.ts'

/** Content that exists in public and is not as the specification has it: packed, checked, served and pushed. */

let folder: Awaited<ReturnType<typeof scratch>>
let source: EmbeddedRegistry
let run: Session['run']
let good: Session['good']
let three: BuiltIndex

beforeAll(async () => {
  folder = await scratch()
  ;({ run, good } = session(folder.path))
  source = await startRegistry()
  three = await buildkitIndex('three', [AMD64, ARM64, ARM_V7])
})
afterAll(async () => {
  await source.close()
  await folder[Symbol.asyncDispose]()
})

const name = (repository: string): string => `${source.host}/${repository}:1`
const digestOf = (built: Built | undefined): string => built?.descriptor.digest ?? ''

/** An index in the registry, of which some children are not. */
function seedWithout(repository: string, index: BuiltIndex, missing: readonly (Built | undefined)[]): void {
  seedRegistry(source.store, `${repository}:1`, index)
  for (const one of missing) source.store.deleteManifest(repository, digestOf(one) as `sha256:${string}`)
}

/** Words of a message, however the lines are broken. */
const flat = (text: string): string => text.replaceAll(/\s+/g, ' ')

interface Images {
  images: {
    source: string
    digest: string
    sourceDigest: string
    platforms: { platform: string }[]
    missingAttestations?: string[]
  }[]
}

describe('an index that lists what its registry does not have', () => {
  it('a platform: the error names image, child and platform, and says which can be had', async () => {
    seedWithout('pruned', three, [three.children[1]])
    const { code, stderr } = await run(['resolve', name('pruned')])
    expect(code).toBe(4)
    expect(flat(stderr)).toContain(
      `${name('pruned')}: its index lists linux/arm64 (${digestOf(three.children[1])}), which ${source.host}/pruned does not have (404)`,
    )
    expect(flat(stderr)).toContain(
      "To take the available platforms: --platform 'linux/amd64' --platform 'linux/arm/v7'",
    )
    expect(stderr).not.toContain('no such tag')
    await good(['resolve', name('pruned'), '--platform', 'linux/amd64', '--platform', 'linux/arm/v7'])
    // In a list, too, it is the child that is missing, not the image.
    const several = await run(['resolve', name('pruned'), name('pruned-not'), '--referrers', 'none'])
    expect(flat(several.stderr)).toContain('its index lists linux/arm64')
    expect(flat(several.stderr)).toContain(
      "To take the available platforms: --platform 'linux/amd64' --platform 'linux/arm/v7'",
    )
  })

  it('what a lock names and the registry has lost since, too', async () => {
    seedWithout('later', three, [])
    await good(['resolve', name('later'), '--referrers', 'none', '-o', 'later.lock'])
    seedWithout('later', three, [three.children[2]])
    const { code, stderr } = await run(['pack', '--lock', 'later.lock', '--no-sign', '-o', 'later.tar'])
    expect(code).toBe(4)
    expect(flat(stderr)).toContain(`${name('later')}: its index lists linux/arm/v7 (`)
    expect(flat(stderr)).toContain('Make a new lock with `airgap resolve`. To take the available platforms:')
  })

  it('nothing at all can be had', async () => {
    seedWithout('empty', three, three.children)
    const { stderr } = await run(['resolve', name('empty')])
    expect(flat(stderr)).toContain('its index lists linux/amd64')
    expect(flat(stderr)).toContain(
      'these are not available either: linux/arm64, linux/arm/v7, the attestation of linux/amd64',
    )
    expect(flat(stderr)).toContain('None of its platforms is available')
  })

  it('attestations: they can be left out, and that is recorded, shown and checked', async () => {
    const lost = [three.children[3], three.children[5]]
    seedWithout('redhat', three, lost)
    const refused = await run(['resolve', name('redhat')])
    expect(refused.code).toBe(4)
    expect(flat(refused.stderr)).toContain(
      `its index lists the attestation of linux/amd64 (${digestOf(lost[0])}), which ${source.host}/redhat does not have (404); these are not available either: the attestation of linux/arm/v7`,
    )
    expect(flat(refused.stderr)).toContain(
      'All platforms (linux/amd64, linux/arm64, linux/arm/v7) are available. To leave out the missing attestations: --allow-missing-attestations',
    )

    const flag = '--allow-missing-attestations'
    const resolved = await good(['resolve', name('redhat'), flag, '-o', 'redhat.lock', '--json'])
    expectResult('resolve', resolved.json())
    expect(flat(resolved.stderr)).toContain(
      `the attestation of linux/amd64 (${digestOf(lost[0])}) cannot be fetched, and is left out`,
    )
    const [locked] = resolved.json<Images>().images
    expect(locked?.digest).not.toBe(locked?.sourceDigest)
    expect(locked?.missingAttestations).toEqual(lost.map(digestOf).toSorted())

    await good(['pack', '--lock', 'redhat.lock', '--no-sign', '-o', 'redhat.tar'])
    const direct = await good([
      'pack',
      name('redhat'),
      flag,
      '--no-sign',
      '--dry-run',
      '-o',
      'x.tar',
      '--json',
    ])
    expect(direct.json<Images>().images[0]).toEqual(locked)
    await good(['verify', 'redhat.tar', '--integrity-only'])
    const inspected = await good(['inspect', 'redhat.tar'])
    expect(inspected.stdout).toContain('    without 2 attestations that the source lists but does not have')
    const json = await good(['inspect', 'redhat.tar', '--json'])
    expectResult('inspect', json.json())

    await using target = await startRegistry()
    await good(['push', 'redhat.tar', target.host, '--allow-unsigned', '--path', 'strip-host'])
    const pushed = target.store.manifest('redhat', '1')
    expect(pushed?.digest).toBe(locked?.digest)
    const { manifests } = JSON.parse(Buffer.from(pushed?.bytes ?? []).toString()) as BuiltIndexJson
    expect(manifests.map(({ digest }) => digest)).toEqual(
      [0, 1, 2, 4].map((i) => digestOf(three.children[i])),
    )
  })

  it('with one platform, that is delivered as it is; a reference with a digest has to be allowed to change', async () => {
    const one = await image('single', AMD64)
    const index = buildIndex([one, attestationFor(one)])
    seedWithout('single', index, [index.children[1]])
    const flag = '--allow-missing-attestations'
    const { images } = (await good(['resolve', name('single'), flag, '--json'])).json<Images>()
    expect(images[0]?.digest).toBe(digestOf(one))
    expect(images[0]?.missingAttestations).toEqual([digestOf(index.children[1])])

    const pinned = `${source.host}/single@${digestOf(index)}`
    const refused = await run(['resolve', pinned, flag])
    expect(refused.code).toBe(4)
    expect(flat(refused.stderr)).toContain('--allow-missing-attestations --rewrite-digests')
    await good(['resolve', pinned, flag, '--rewrite-digests'])
  })

  it('a child that cannot be used is told as that child', async () => {
    const odd = assemble({
      mediaType: OCI_MANIFEST,
      config: contentOf(OCI_CONFIG, Buffer.from('{}')),
      layers: [
        {
          bytes: Buffer.from('x'),
          descriptor: { mediaType: 'x', digest: `sha512:${'a'.repeat(128)}` as never, size: 1 },
        },
      ],
      platform: ARM64,
    })
    seedRegistry(source.store, 'sha512:1', buildIndex([await image('good', AMD64), odd]))
    const { code, stderr } = await run(['resolve', name('sha512')])
    expect(code).toBe(4)
    expect(flat(stderr)).toContain(`${name('sha512')}: linux/arm64 (${digestOf(odd)}): `)
    expect(flat(stderr)).toContain('its algorithm is sha512; only sha256 is supported')
    expect(flat(stderr)).toContain('newer than what airgap carries')
    expect(stderr).not.toContain('current tool')
  })

  it('a build cache of BuildKit is called that', async () => {
    const layer = contentOf('application/vnd.oci.image.layer.v1.tar+gzip', Buffer.from('layer'))
    const config = contentOf('application/vnd.buildkit.cacheconfig.v0', Buffer.from('{}'))
    const manifests = [layer, config].map(({ descriptor }) => descriptor)
    const cache = { schemaVersion: 2, mediaType: OCI_INDEX, manifests }
    source.store.putManifest('cache', jsonBytes(cache), OCI_INDEX, '1')
    seedRegistry(source.store, 'fine:1', await image('fine', AMD64))
    const { code, stderr } = await run(['resolve', name('cache'), name('fine'), '--referrers', 'none'])
    expect(code).toBe(6)
    expect(flat(stderr)).toContain('it is not an image but a BuildKit cache')
    expect(stderr).not.toContain('no such tag')
  })
})

interface BuiltIndexJson {
  manifests: { digest: string }[]
}

describe('what readers written in Go take', () => {
  it('null for what may be absent, at the top and below an index: packed, verified and pushed', async () => {
    const built = await Promise.all([AMD64, ARM64, ARM_V7].map((platform) => withNulls('nulls', platform)))
    const listed = built.map(({ descriptor }) => ({ ...descriptor, annotations: null, urls: null }))
    const index = jsonBytes({ schemaVersion: 2, mediaType: OCI_INDEX, subject: null, manifests: listed })
    for (const one of built) seedRegistry(source.store, 'nulls', one)
    source.store.putManifest('nulls', index, OCI_INDEX, '1')
    seedRegistry(source.store, 'nulls-single:1', built[0]!)
    const empty = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: null }
    source.store.putManifest('nothing', jsonBytes(empty), OCI_INDEX, '1')
    const images = ['nulls', 'nulls-single', 'nothing'].map(name)
    await good(['pack', ...images, '--no-sign', '-o', 'nulls.tar'])
    await good(['verify', 'nulls.tar', '--integrity-only'])
    const part = ['--platform', 'linux/amd64', '--platform', 'linux/arm64']
    await good(['pack', name('nulls'), name('nothing'), ...part, '--no-sign', '-o', 'part.tar'])
    await good(['verify', 'part.tar', '--integrity-only'])
    await using target = await startRegistry()
    await good(['push', 'nulls.tar', target.host, '--allow-unsigned', '--path', 'strip-host'])
    for (const repository of ['nulls', 'nulls-single', 'nothing'])
      expect(target.store.manifest(repository, '1')).toEqual(source.store.manifest(repository, '1'))
  })

  it.each([
    ['empty', ''],
    ['a number', '3e10'],
    ['not JSON', 'none'],
    ['with a number as Go refuses it', '{"os":"linux","architecture":"amd64","x":3e10}'],
  ])('a config that cannot be read (%s) states no platform, wherever its image hangs', async (_, text) => {
    const config = contentOf(OCI_CONFIG, Buffer.from(text))
    const bare = assemble({ mediaType: OCI_MANIFEST, config, layers: [] })
    const listed: BuiltImage = { ...bare, descriptor: { ...bare.descriptor, platform: ARM64 } }
    seedRegistry(source.store, 'odd-top:1', bare)
    seedRegistry(source.store, 'odd-listed:1', buildIndex([listed, await image('x', AMD64)]))
    seedRegistry(source.store, 'odd-bare:1', buildIndex([bare, await image('x', AMD64)]))
    const images = ['odd-top', 'odd-listed', 'odd-bare'].map(name)
    const packed = await good(['pack', ...images, '--no-sign', '-o', 'odd.tar', '--force', '--json'])
    const platforms = packed.json<Images>().images.map((one) => one.platforms.map(({ platform }) => platform))
    expect(platforms).toEqual([['linux/amd64'], ['linux/arm64', 'linux/amd64'], []])
    expect(flat(packed.stderr)).toContain(
      `${images[0]}: its config ${config.descriptor.digest} cannot be read: `,
    )
    await good(['verify', 'odd.tar', '--integrity-only'])
    await using target = await startRegistry()
    await good(['push', 'odd.tar', target.host, '--allow-unsigned', '--path', 'strip-host'])
    expect(target.store.manifest('odd-top', '1')?.digest).toBe(digestOf(bare))
  })
})

it('from a registry at an IPv6 address: pushed under a name that is valid, and the same for one address', async () => {
  seedRegistry(source.store, 'team/six:1', await image('six', AMD64))
  const mirrors = ['[fd00::1]:5000', '[::1]'].flatMap((from) => ['--mirror', `${from}=${source.host}`])
  const images = ['[FD00:0:0::0001]:5000/team/six:1', '[::1]/team/six:1']
  const more = ['--mirror', `[FD00:0:0::0001]:5000=${source.host}`, '--resolve-from', 'mirror']
  await good(['pack', ...images, ...mirrors, ...more, '--no-sign', '-o', 'six.tar'])
  await using target = await startRegistry()
  const pushed = await good(['push', 'six.tar', target.host, '--allow-unsigned', '--json'])
  expect(
    pushed
      .json<{ images: { target: string }[] }>()
      .images.map((one) => one.target)
      .toSorted(),
  ).toEqual([
    `${target.host}/0-0-0-0-0-0-0-1/team/six:1`,
    `${target.host}/fd00-0-0-0-0-0-0-1_5000/team/six:1`,
  ])
})

/** A manifest without layers, and with null for whatever may be absent. */
async function withNulls(text: string, platform: typeof AMD64): Promise<BuiltImage> {
  const config = contentOf(OCI_CONFIG, jsonBytes({ ...platform, variant: null, created: null, text }))
  const bytes = jsonBytes({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    artifactType: null,
    config: { ...config.descriptor, annotations: null, data: null },
    layers: null,
    annotations: null,
  })
  return { kind: 'manifest', ...contentOf(OCI_MANIFEST, bytes, { platform }), config, layers: [] }
}
