import { mkdtemp, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeEnd, type PushReceipt } from './parts/airgap.ts'
import { startContainerd } from './parts/containerd.ts'
import { BUSYBOX, DOCKER_LIST } from './parts/images.ts'
import { attempt, run, type Ended } from './parts/processes.ts'
import { sha256 } from './parts/readers.ts'
import { startDistribution3, type Registry } from './parts/registries.ts'
import { withParts } from './parts/tools.ts'
import { openWorld, WORLD_PARTS, type Packed, type World } from './parts/world.ts'

interface Receipt {
  complete: boolean
  images: (PushReceipt['images'][number] & {
    sparseIndex?: { digest: string; tag: string; outcome: string }
  })[]
}

withParts('push --sparse-index', [...WORLD_PARTS, 'registry'], () => {
  let world: World
  let packed: Packed

  beforeAll(async () => {
    world = await openWorld()
    packed = await world.pack('part', [BUSYBOX, DOCKER_LIST], '--platform', 'linux/amd64')
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  const folder = (name: string): Promise<string> => mkdtemp(join(world.folder, `${name}-`))

  const distribution3 = async (sparseIndexes: boolean): Promise<Registry> => {
    const scratch = await folder('registry')
    return startDistribution3({ store: join(scratch, 'store'), scratch, sparseIndexes })
  }

  const push = (host: string, receipt: string, ...flags: string[]): Promise<Ended> =>
    world.airgap.attempt(
      'push',
      packed.bundle,
      host,
      '--key',
      world.publicKey,
      '--sparse-index',
      '--receipt',
      world.path(receipt),
      ...world.writing,
      ...flags,
    )

  /** The names in the target by which workloads pin what the sources have. */
  const pinned = (host: string): { name: string; digest: string }[] =>
    packed.images.map(({ source, sourceDigest }) => ({
      name: `${host}/${source.slice(0, source.lastIndexOf(':'))}@${sourceDigest}`,
      digest: sourceDigest,
    }))

  test('into distribution 3 that allows it: whoever pins the source digest gets the platform that is there', async () => {
    await using target = await distribution3(true)
    const pushed = await push(target.host, 'sparse.json', '--json')
    expect(pushed.code, describeEnd(pushed)).toBe(0)
    const receipt = JSON.parse(pushed.stdout) as Receipt
    expect(receipt.complete).toBe(true)
    expect(receipt.images.map(({ sparseIndex }) => sparseIndex?.outcome)).toEqual(['uploaded', 'uploaded'])

    const plain = '--src-tls-verify=false'
    for (const { name, digest } of pinned(target.host)) {
      const raw = await run('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${name}`])
      expect(sha256(Buffer.from(raw))).toBe(digest)
      const into = await folder('skopeo')
      await run('skopeo', [
        '--override-arch',
        'amd64',
        'copy',
        '-q',
        plain,
        `docker://${name}`,
        `dir:${into}`,
      ])
      const child = sha256(await readFile(join(into, 'manifest.json')))
      expect(packed.images.find(({ sourceDigest }) => sourceDigest === digest)?.digest).toBe(child)
      const other = ['--override-arch', 'arm64', 'copy', '-q', plain, `docker://${name}`, `dir:${into}`]
      const missing = await attempt('skopeo', other)
      expect(missing.code).not.toBe(0)
      expect(missing.stderr).toContain('manifest unknown')
    }
    const tags = await run('skopeo', [
      'list-tags',
      '--tls-verify=false',
      `docker://${target.host}/${BUSYBOX.slice(0, BUSYBOX.lastIndexOf(':'))}`,
    ])
    expect((JSON.parse(tags) as { Tags: string[] }).Tags.toSorted()).toEqual([
      '1.35',
      receipt.images.find(({ source }) => source === BUSYBOX)?.sparseIndex?.tag,
    ])
  })

  withParts('containerd', ['containerd', 'ctr'], () => {
    test('pulls by the source digest what is there, and says that another platform is not', async () => {
      await using target = await distribution3(true)
      const pushed = await push(target.host, 'containerd.json')
      expect(pushed.code, describeEnd(pushed)).toBe(0)
      await using containerd = await startContainerd(await folder('containerd'))
      const pull = ['images', 'pull', '--plain-http', '--snapshotter', 'native', '--platform']
      for (const { name } of pinned(target.host)) {
        await containerd.ctr(...pull, 'linux/amd64', name)
        const missing = await containerd.attemptCtr(...pull, 'linux/arm64', name)
        expect(missing.code).not.toBe(0)
        expect(missing.stderr).toContain('not found')
      }
      expect(await containerd.images()).toEqual(
        new Map(pinned(target.host).map(({ name, digest }) => [name, digest])),
      )
    })
  })

  withParts('podman', ['podman'], () => {
    test('pulls by the source digest what is there', async () => {
      await using target = await distribution3(true)
      const pushed = await push(target.host, 'podman.json')
      expect(pushed.code, describeEnd(pushed)).toBe(0)
      const place = await folder('podman')
      const roots = [
        '--root',
        join(place, 'root'),
        '--runroot',
        join(place, 'run'),
        '--storage-driver',
        'vfs',
      ]
      for (const { name } of pinned(target.host)) {
        await run('podman', [...roots, 'pull', '-q', '--arch', 'amd64', '--tls-verify=false', name])
      }
    })
  })

  test.each([
    ['docker-registry', () => world.target()],
    ['distribution 3 as it comes', () => distribution3(false)],
  ])('into %s: everything else is done, and exit code 6 says why', async (name, start) => {
    await using target = await start()
    const pushed = await push(target.host, `${name.replaceAll(' ', '-')}.json`)
    expect(pushed.code, describeEnd(pushed)).toBe(6)
    expect(pushed.stderr).toContain('MANIFEST_BLOB_UNKNOWN')
    expect(pushed.stderr).toContain('validation.manifests.indexes.platforms')
    for (const { digest } of pinned(target.host)) expect(pushed.stderr).toContain(digest)
    const file = /the receipt is (\S+)/.exec(pushed.stderr)?.[1] ?? ''
    const receipt = JSON.parse(await readFile(file, 'utf8')) as Receipt
    expect(receipt.complete).toBe(false)
    expect(receipt.images.map(({ tag, sparseIndex }) => [tag.state, sparseIndex?.outcome])).toEqual([
      ['created', 'refused'],
      ['created', 'refused'],
    ])
    // Without the flag the same push is complete.
    const plain = await world.airgap.attempt(
      'push',
      packed.bundle,
      target.host,
      '--key',
      world.publicKey,
      ...world.writing,
    )
    expect(plain.code, describeEnd(plain)).toBe(0)
  })
})
