import { mkdtemp, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { LockedImage } from './parts/airgap.ts'
import { startContainerd } from './parts/containerd.ts'
import { BUSYBOX, CHART, DOCKER_LIST, SCHEMA2, TWELVE, ZSTD } from './parts/images.ts'
import { run } from './parts/processes.ts'
import { sha256 } from './parts/readers.ts'
import { entriesOf } from './parts/tar-edit.ts'
import { withParts } from './parts/tools.ts'
import { openWorld, WORLD_PARTS, type Packed, type World } from './parts/world.ts'

withParts('other tools load a bundle as it is', WORLD_PARTS, () => {
  let world: World
  let images: Packed
  let withArtifact: Packed
  /** The image with twelve layers, by tag and digest. */
  let pinned: string

  beforeAll(async () => {
    world = await openWorld()
    const [twelve] = await resolved(world, TWELVE)
    pinned = `${TWELVE}@${twelve?.digest}`
    images = await world.pack('images', [BUSYBOX, DOCKER_LIST, ZSTD, SCHEMA2, pinned])
    withArtifact = await world.pack('with-artifact', [BUSYBOX, CHART])
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  const digestOf = (source: string): string | undefined =>
    images.images.find((image) => image.source === source)?.digest

  /** Every name that the bundle delivers, with its digest. */
  const names = (): [string, string | undefined][] => [
    ...[BUSYBOX, DOCKER_LIST, ZSTD, SCHEMA2].map((name): [string, string | undefined] => [
      name,
      digestOf(name),
    ]),
    [TWELVE, digestOf(pinned)],
    [`${TWELVE.slice(0, TWELVE.lastIndexOf(':'))}@${digestOf(pinned)}`, digestOf(pinned)],
  ]

  withParts('ctr images import', ['containerd', 'ctr'], () => {
    test('gives every image its names and digests, and unpacks it', async () => {
      await using containerd = await startContainerd(await mkdtemp(join(world.folder, 'containerd-')))
      await containerd.ctr('images', 'import', '--snapshotter', 'native', images.bundle)
      expect(await containerd.images()).toEqual(new Map(names()))
      // All begin with the same layer, which is one snapshot however it is compressed; one image has eleven more.
      const snapshots = (await containerd.ctr('snapshots', '--snapshotter', 'native', 'ls'))
        .trim()
        .split('\n')
        .slice(1)
      expect(snapshots).toHaveLength(1 + 11)
    })

    test('with an artifact in the bundle too, when nothing is unpacked', async () => {
      await using containerd = await startContainerd(await mkdtemp(join(world.folder, 'containerd-')))
      await containerd.ctr('images', 'import', '--no-unpack', withArtifact.bundle)
      expect(await containerd.images()).toEqual(
        new Map(withArtifact.images.map(({ source, digest }) => [source, digest])),
      )
    })

    test('of a bundle for two platforms out of an index, with all platforms', async () => {
      const both = await world.pack(
        'both',
        [BUSYBOX],
        '--platform',
        'linux/amd64',
        '--platform',
        'linux/arm64',
      )
      await using containerd = await startContainerd(await mkdtemp(join(world.folder, 'containerd-')))
      await containerd.ctr('images', 'import', '--all-platforms', '--no-unpack', both.bundle)
      expect(await containerd.images()).toEqual(new Map([[BUSYBOX, both.images[0]?.sourceDigest]]))
    })
  })

  withParts('podman load', ['podman'], () => {
    test('gives every image its name', async () => {
      const folder = await mkdtemp(join(world.folder, 'podman-'))
      const storage = [
        '--storage-driver',
        'vfs',
        '--root',
        join(folder, 'root'),
        '--runroot',
        join(folder, 'run'),
      ]
      await run('podman', [...storage, 'load', '--quiet', '--input', images.bundle])
      const listed = JSON.parse(
        await run('podman', [...storage, 'images', '--format', 'json', '--no-trunc']),
      ) as {
        Id: string
        Names?: string[]
      }[]
      const loaded = listed.flatMap(({ Id, Names }) => (Names ?? []).map((name) => [name, Id]))
      // podman's image ID is the digest of the configuration.
      expect(Object.fromEntries(loaded)).toEqual(await configDigests(images.bundle))
    })
  })

  test('skopeo copies the images of OCI media types by name, with identical digests', async () => {
    for (const name of [BUSYBOX, ZSTD, TWELVE]) {
      const folder = await mkdtemp(join(world.folder, 'skopeo-'))
      const from = `oci-archive:${images.bundle}:${name}`
      await run('skopeo', ['copy', '--quiet', '--all', '--preserve-digests', from, `dir:${folder}`])
      expect(sha256(await readFile(join(folder, 'manifest.json'))), name).toBe(new Map(names()).get(name))
    }
  })

  test('skopeo copies the artifact by name', async () => {
    const folder = await mkdtemp(join(world.folder, 'skopeo-'))
    await run('skopeo', [
      'copy',
      '--quiet',
      '--preserve-digests',
      `oci-archive:${withArtifact.bundle}:${CHART}`,
      `dir:${folder}`,
    ])
    const chart = withArtifact.images.find(({ source }) => source === CHART)
    expect(sha256(await readFile(join(folder, 'manifest.json')))).toBe(chart?.digest)
  })
})

async function resolved(world: World, ...references: string[]): Promise<LockedImage[]> {
  const flags = ['--resolve-from', 'mirror', ...world.reading()]
  return (await world.airgap.json<{ images: LockedImage[] }>('resolve', ...references, ...flags)).images
}

/** By name, the hex digest of the configuration that Docker's load file gives. */
async function configDigests(bundle: string): Promise<Record<string, string>> {
  const entry = entriesOf(await readFile(bundle)).find(({ name }) => name === 'manifest.json')
  const list = JSON.parse(entry?.bytes.toString('utf8', 512, 512 + entry.size) ?? '') as {
    Config: string
    RepoTags: string[]
  }[]
  return Object.fromEntries(
    list.flatMap(({ Config, RepoTags }) => RepoTags.map((tag) => [tag, Config.split('/').at(-1) ?? ''])),
  )
}
