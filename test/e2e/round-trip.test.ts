import { mkdtemp, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type PushReceipt } from './parts/airgap.ts'
import { startContainerd, writeHostsFiles } from './parts/containerd.ts'
import { CHART, DOCKER_LIST, IMAGES, PRIVATE, ZSTD } from './parts/images.ts'
import { attempt, run } from './parts/processes.ts'
import { expectSkopeoToRead, skopeoFlags, tagsOf } from './parts/readers.ts'
import {
  logged,
  PASSWORD,
  requestsIn,
  startCraneRegistry,
  startDistribution3,
  startZot,
  USER,
  type Registry,
} from './parts/registries.ts'
import { withParts } from './parts/tools.ts'
import { openWorld, WORLD_PARTS, type Packed, type World } from './parts/world.ts'

withParts('from a registry to a registry', WORLD_PARTS, () => {
  let world: World
  let packed: Packed

  beforeAll(async () => {
    world = await openWorld()
    packed = await world.pack('all', [...IMAGES, CHART])
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  const push = (host: string, name: string): Promise<PushReceipt> =>
    world.airgap.json<PushReceipt>(
      'push',
      packed.bundle,
      host,
      '--key',
      world.publicKey,
      '--receipt',
      world.path(`${name}.receipt.json`),
      ...world.writing,
    )

  test('the sources are what the suite says that they are', async () => {
    const raw = async (reference: string): Promise<string> =>
      run('skopeo', [
        'inspect',
        '--raw',
        ...inspectFlags(world),
        `docker://${world.source.host}/${reference}`,
      ])
    expect(await raw(ZSTD)).toContain('application/vnd.oci.image.layer.v1.tar+zstd')
    expect(await raw(DOCKER_LIST)).toContain('application/vnd.docker.distribution.manifest.list.v2+json')
    const types = new Set(packed.images.map(({ mediaType }) => mediaType))
    expect([...types].toSorted()).toEqual([
      'application/vnd.docker.distribution.manifest.list.v2+json',
      'application/vnd.docker.distribution.manifest.v2+json',
      'application/vnd.oci.image.index.v1+json',
      'application/vnd.oci.image.manifest.v1+json',
    ])
    expect(packed.images.find(({ source }) => source === CHART)?.kind).toBe('artifact')
  })

  test('without the password nothing is read, and without the authority nobody is spoken to', async () => {
    const resolve = ['resolve', `${world.source.host}/${PRIVATE}`]
    const anonymous = await world.airgap.attempt(...resolve, '--ca-file', world.certificates.ca)
    expect(anonymous.code, anonymous.stderr).toBe(5)
    const untrusting = await world.airgap.attempt(...resolve, '--auth-file', world.authFile)
    expect(untrusting.code, untrusting.stderr).toBe(4)
    expect(untrusting.stderr).toContain('--ca-file')
  })

  describe('by way of a second docker-registry', () => {
    let target: Registry
    let receipt: PushReceipt

    beforeAll(async () => {
      target = await world.target()
      receipt = await push(target.host, 'first')
    })

    test('skopeo reads every image back with the digest of the lock', async () => {
      await expectSkopeoToRead(world, receipt, packed.images)
    })

    test('there are exactly the tags that the receipt names', async () => {
      const tags = receipt.images.map(({ target: name }) => name.slice(name.indexOf('/') + 1))
      expect((await tagsOf(world, target)).toSorted()).toEqual(tags.toSorted())
    })

    withParts('containerd', ['containerd', 'ctr'], () => {
      test('pulls every image by its name in the target, with the digest of the lock', async () => {
        const hosts = world.path('own-names.d')
        const own = `[host."https://${target.host}"]\n  ca = "${world.certificates.ca}"\n`
        await writeHostsFiles(hosts, new Map([[target.host, own]]))
        await using containerd = await startContainerd(await mkdtemp(join(world.folder, 'containerd-')))
        for (const { source, target: name } of receipt.images) {
          await containerd.ctr(
            ...pullCommand(source),
            '--user',
            `${USER}:${PASSWORD}`,
            '--hosts-dir',
            hosts,
            name,
          )
        }
        expect(await containerd.images()).toEqual(
          new Map(receipt.images.map(({ source, target: name }) => [name, lockedDigest(source)])),
        )
      })

      test('pulls every image by its own name through the hosts.toml that push prints', async () => {
        const text = await world.airgap.run(
          'push',
          packed.bundle,
          target.host,
          '--key',
          world.publicKey,
          '--receipt',
          world.path('hosts.json'),
          ...world.writing,
        )
        const hosts = world.path('source-names.d')
        await writeHostsFiles(hosts, hostsFilesIn(text, `  ca = "${world.certificates.ca}"\n`))
        await using containerd = await startContainerd(await mkdtemp(join(world.folder, 'containerd-')))
        for (const { source } of receipt.images) {
          await containerd.ctr(
            ...pullCommand(source),
            '--user',
            `${USER}:${PASSWORD}`,
            '--hosts-dir',
            hosts,
            source,
          )
        }
        expect(await containerd.images()).toEqual(
          new Map(receipt.images.map(({ source }) => [source, lockedDigest(source)])),
        )
      })
    })

    test('a second push uploads nothing', async () => {
      const before = requestsIn(target.output()).length
      const again = await push(target.host, 'second')
      expect(again.totals.uploaded).toEqual({ count: 0, bytes: 0 })
      expect(again.totals.mounted).toEqual({ count: 0, bytes: 0 })
      expect(again.images.map(({ tag }) => tag.state)).toEqual(packed.images.map(() => 'unchanged'))
      // The log is written after the answer: one more request marks its end.
      await attempt('skopeo', [
        'inspect',
        ...inspectFlags(world),
        '--raw',
        `docker://${target.host}/end/of:log`,
      ])
      await logged(target, 'GET /v2/end/of/manifests/log')
      const requests = requestsIn(target.output()).slice(before)
      expect(requests.length).toBeGreaterThan(packed.images.length)
      expect(requests.filter((request) => !/^(GET|HEAD) /.test(request))).toEqual([])
    })

    test('the receipt on the disk is the one that is printed', async () => {
      const onDisk = JSON.parse(await readFile(world.path('first.receipt.json'), 'utf8')) as PushReceipt
      // What is printed says besides where the receipt is, and the report that it goes with.
      expect(receipt).toEqual({
        ...onDisk,
        receiptFile: world.path('first.receipt.json'),
        report: {
          file: world.path('first.report.json'),
          digest: expect.stringMatching(/^sha256:/) as string,
        },
      })
      expect(receipt.totals.uploaded.count).toBeGreaterThan(packed.images.length)
    })
  })

  const others = [
    [
      'distribution 3',
      'registry',
      (folder: string) => startDistribution3({ store: join(folder, 'store'), scratch: folder }),
    ],
    ["crane's registry", 'crane', (folder: string) => startCraneRegistry(join(folder, 'store'))],
    ['zot', 'zot', (folder: string) => startZot(join(folder, 'store'), folder)],
  ] as const
  for (const [name, part, startOther] of others) {
    withParts(name, [part], () => {
      test('takes every image, and skopeo reads it back with the digest of the lock', async () => {
        await using other = await startOther(await mkdtemp(join(world.folder, `${part}-`)))
        const receipt = await push(other.host, part)
        await expectSkopeoToRead(world, receipt, packed.images, ['--src-tls-verify=false'])
        const again = await push(other.host, `${part}-again`)
        expect(again.totals.uploaded.count).toBe(0)
      })

      withParts('containerd', ['containerd', 'ctr'], () => {
        test('pulls every image from it', async () => {
          await using other = await startOther(await mkdtemp(join(world.folder, `${part}-`)))
          const receipt = await push(other.host, `${part}-containerd`)
          await using containerd = await startContainerd(await mkdtemp(join(world.folder, 'containerd-')))
          for (const { source, target } of receipt.images) {
            await containerd.ctr(...pullCommand(source), '--plain-http', target)
          }
          expect(await containerd.images()).toEqual(
            new Map(receipt.images.map(({ source, target }) => [target, lockedDigest(source)])),
          )
        })
      })
    })
  }

  function lockedDigest(source: string): string | undefined {
    return packed.images.find((image) => image.source === source)?.digest
  }
})

/** An artifact cannot be unpacked, so it is only fetched. */
function pullCommand(source: string): string[] {
  return source === CHART
    ? ['content', 'fetch']
    : ['images', 'pull', '--snapshotter', 'native', '--platform', 'linux/amd64']
}

function inspectFlags(world: World): string[] {
  return skopeoFlags(world).map((flag) => flag.replace('--src-', '--'))
}

/** The files that push prints: a line with the path below certs.d, then indented lines; `more` is put below each. */
function hostsFilesIn(text: string, more: string): Map<string, string> {
  const files = text.matchAll(/^ {2}\/etc\/containerd\/certs\.d\/(\S+)\/hosts\.toml\n((?: {4}.*\n?)+)/gm)
  return new Map([...files].map((match) => [match[1] ?? '', `${(match[2] ?? '').trimEnd()}\n${more}`]))
}
