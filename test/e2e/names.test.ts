import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { LockedImage, PushReceipt } from './parts/airgap.ts'
import { startContainerd } from './parts/containerd.ts'
import { KUBEADM, KUBERNETES, PRIVATE } from './parts/images.ts'
import { run } from './parts/processes.ts'
import { expectSkopeoToRead, sha256, skopeoFlags } from './parts/readers.ts'
import type { Registry } from './parts/registries.ts'
import { withParts } from './parts/tools.ts'
import { openWorld, WORLD_PARTS, type Packed, type World } from './parts/world.ts'

withParts('names', WORLD_PARTS, () => {
  let world: World
  let target: Registry

  beforeAll(async () => {
    world = await openWorld()
    target = await world.target()
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  const push = (bundle: string, to: string, receipt: string, ...flags: string[]): Promise<PushReceipt> =>
    world.airgap.json<PushReceipt>(
      'push',
      bundle,
      to,
      '--key',
      world.publicKey,
      '--receipt',
      world.path(receipt),
      ...world.writing,
      ...flags,
    )

  describe('of an image from a private registry on a host with a port', () => {
    let packed: Packed
    let source: string

    beforeAll(async () => {
      source = `${world.source.host}/${PRIVATE}`
      packed = await world.pack('private', [source])
    })

    test('keep the port, with the colon written as an underscore in the target', async () => {
      const receipt = await push(packed.bundle, target.host, 'full.json')
      const port = world.source.host.split(':')[1]
      expect(receipt.images.map((image) => image.target)).toEqual([
        `${target.host}/127.0.0.1_${port}/${PRIVATE}`,
      ])
      await expectSkopeoToRead(world, receipt, packed.images)
    })

    test('leave the host out with --path strip-host, below a prefix', async () => {
      const receipt = await push(packed.bundle, `${target.host}/mirror`, 'strip.json', '--path', 'strip-host')
      expect(receipt.images.map((image) => image.target)).toEqual([`${target.host}/mirror/${PRIVATE}`])
      await expectSkopeoToRead(world, receipt, packed.images)
    })

    test('can be mapped from host and port', async () => {
      const receipt = await push(
        packed.bundle,
        target.host,
        'map.json',
        '--map',
        `${world.source.host}/team=ours`,
      )
      expect(receipt.images.map((image) => image.target)).toEqual([`${target.host}/ours/app:1.0`])
    })

    withParts('containerd', ['containerd', 'ctr'], () => {
      test('are the original ones after ctr images import', async () => {
        await using containerd = await startContainerd(await mkdtemp(join(world.folder, 'containerd-')))
        await containerd.ctr('images', 'import', '--snapshotter', 'native', packed.bundle)
        expect(await containerd.images()).toEqual(new Map([[source, packed.images[0]?.digest]]))
      })
    })
  })

  describe("of kubeadm's images", () => {
    test('are those that kubeadm lists', async () => {
      const listed = await world.airgap.run('list', '--kubeadm', KUBERNETES)
      expect(listed.trim().split('\n').toSorted()).toEqual(KUBEADM.toSorted())
    })

    test('are found by kubeadm with an imageRepository of its own', async () => {
      const { bundle, images } = await world.pack('kubeadm', ['--kubeadm', KUBERNETES])
      expect(images).toHaveLength(KUBEADM.length)
      const maps = ['--map', 'registry.k8s.io/coredns=k8s', '--map', 'registry.k8s.io=k8s']
      await push(bundle, target.host, 'kubeadm.json', ...maps)

      const repository = `${target.host}/k8s`
      for (const { source, digest } of images) {
        const name = kubeadmName(repository, source)
        const raw = await run('skopeo', [...inspectRaw(world), `docker://${name}`])
        expect(sha256(Buffer.from(raw)), name).toBe(digest)
      }
    })

    test('are printed as the settings that kubeadm needs', async () => {
      const bundle = world.path('kubeadm.tar')
      const maps = ['--map', 'registry.k8s.io/coredns=k8s', '--map', 'registry.k8s.io=k8s']
      const flags = ['--key', world.publicKey, '--receipt', world.path('settings.json'), ...world.writing]
      const text = await world.airgap.run('push', bundle, target.host, ...maps, ...flags)
      expect(text).toContain(`  kubernetesVersion: ${KUBERNETES}\n`)
      expect(text).toContain(`  imageRepository: ${target.host}/k8s\n`)
      expect(text).toContain(`${target.host}/k8s/pause:3.10.2\n`)
    })
  })
})

/** With an imageRepository of one's own kubeadm asks for everything directly below it, coredns too. */
function kubeadmName(repository: string, source: LockedImage['source']): string {
  return `${repository}/${source.split('/').at(-1)}`
}

function inspectRaw(world: World): string[] {
  return ['inspect', '--raw', ...skopeoFlags(world).map((flag) => flag.replace('--src-', '--'))]
}
