import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startContainerd, writeHostsFiles } from './parts/containerd.ts'
import { BUSYBOX, CHART, DOCKER_LIST, PRIVATE, TWELVE, ZSTD } from './parts/images.ts'
import { attempt, run } from './parts/processes.ts'
import { sha256 } from './parts/readers.ts'
import { startServing, type Serving } from './parts/serving.ts'
import { withParts } from './parts/tools.ts'
import { openWorld, WORLD_PARTS, type Packed, type World } from './parts/world.ts'

withParts('serve', WORLD_PARTS, () => {
  let world: World
  let packed: Packed
  let serving: Serving

  beforeAll(async () => {
    world = await openWorld()
    const images = [BUSYBOX, DOCKER_LIST, ZSTD, TWELVE, `${world.source.host}/${PRIVATE}`]
    packed = await world.pack('served', images)
    serving = await startServing(world.airgap, packed.bundle, '--key', world.publicKey)
  })
  afterAll(async () => {
    await serving?.[Symbol.asyncDispose]()
    await world?.[Symbol.asyncDispose]()
  })

  const folder = (name: string): Promise<string> => mkdtemp(join(world.folder, `${name}-`))

  /** All platforms and layers by skopeo, which hashes each, and the manifest compared with the lock. */
  const copy = async (from: string, digest: string | undefined, ...flags: string[]): Promise<void> => {
    const into = await folder('copy')
    await run('skopeo', [...flags, 'copy', '--quiet', '--all', '--preserve-digests', from, `dir:${into}`])
    expect(sha256(await readFile(join(into, 'manifest.json')))).toBe(digest)
  }

  test('skopeo copies every image under both of its names', async () => {
    const registry = ['--override-os', 'linux']
    for (const { digest, names } of serving.document.images) {
      expect(names).toHaveLength(2)
      for (const name of names) {
        await plainCopy(`docker://${serving.host}/${name}`, digest, registry)
      }
    }
  })

  const plainCopy = async (from: string, digest: string, flags: readonly string[] = []): Promise<void> => {
    const into = await folder('copy')
    const tls = ['--src-tls-verify=false']
    await run('skopeo', [...flags, 'copy', '-q', '--all', '--preserve-digests', ...tls, from, `dir:${into}`])
    expect(sha256(await readFile(join(into, 'manifest.json')))).toBe(digest)
  }

  test('skopeo finds images under their own names by the printed registries.conf', async () => {
    const config = join(await folder('conf'), 'registries.conf')
    await writeFile(config, serving.document.registriesConf.content)
    for (const { source, digest } of packed.images) {
      await copy(`docker://${source}`, digest, '--registries-conf', config)
    }
  })

  withParts('containerd', ['containerd', 'ctr'], () => {
    test('pulls every image under its own name by the printed hosts.toml, and nothing from elsewhere', async () => {
      const hosts = await folder('hosts')
      await writeHostsFiles(
        hosts,
        new Map(serving.document.hostsFiles.map(({ registry, content }) => [registry, content])),
      )
      await using containerd = await startContainerd(await folder('containerd'))
      const pull = ['images', 'pull', '--hosts-dir', hosts, '--snapshotter', 'native', '--all-platforms']
      for (const { source } of packed.images) await containerd.ctr(...pull, source)
      const images = await containerd.images()
      for (const { source, digest } of packed.images) expect(images.get(source)).toBe(digest)
      expect(serving.log()).toContain('/v2/library/busybox/manifests/1.35?ns=docker.io')

      const missing = await containerd.attemptCtr(...pull, 'docker.io/library/nothing:1')
      expect(missing.code).not.toBe(0)
      expect(missing.stderr).toContain('not found')
    })

    test('pulls by TLS, with the line for the authority filled in', async () => {
      await using secure = await startSecure()
      const hosts = await folder('hosts')
      const file = secure.document.hostsFiles.find(({ registry }) => registry === 'docker.io')
      const content = (file?.content ?? '').replace(/# ca = "[^"]*"/, `ca = "${world.certificates.ca}"`)
      await writeHostsFiles(hosts, new Map([['docker.io', content]]))
      await using containerd = await startContainerd(await folder('containerd'))
      await containerd.ctr('images', 'pull', '--hosts-dir', hosts, '--snapshotter', 'native', BUSYBOX)
    })
  })

  withParts('podman', ['podman'], () => {
    test('pulls by the printed registries.conf', async () => {
      const place = await folder('podman')
      const config = join(place, 'registries.conf')
      await writeFile(config, serving.document.registriesConf.content)
      const options = [
        '--root',
        join(place, 'root'),
        '--runroot',
        join(place, 'run'),
        '--storage-driver',
        'vfs',
      ]
      const env = { ...process.env, CONTAINERS_REGISTRIES_CONF: config }
      for (const source of [BUSYBOX, ZSTD]) {
        await run('podman', [...options, 'pull', '--quiet', source], { env })
        const digest = packed.images.find((image) => image.source === source)?.digest
        const found = await run(
          'podman',
          [...options, 'image', 'inspect', '--format', '{{.RepoDigests}}', source],
          {
            env,
          },
        )
        expect(found).toContain(digest)
      }
    })
  })

  withParts('crane', ['crane'], () => {
    test('reads, validates and lists', async () => {
      const repository = `${serving.host}/docker.io/library/busybox`
      const digest = packed.images.find(({ source }) => source === BUSYBOX)?.digest
      expect((await run('crane', ['digest', `${repository}:1.35`])).trim()).toBe(digest)
      await run('crane', ['validate', '--remote', `${repository}:1.35`])
      expect((await run('crane', ['ls', repository])).trim()).toBe('1.35')
      expect((await run('crane', ['catalog', serving.host])).split('\n')).toContain(
        'docker.io/library/busybox',
      )
    })
  })

  const startSecure = (): Promise<Serving> => {
    const { certificate, key } = world.certificates
    const tls = ['--tls-cert', certificate, '--tls-key', key]
    return startServing(world.airgap, packed.bundle, '--key', world.publicKey, ...tls)
  }

  test('skopeo pulls by TLS from a server with a certificate, and refuses one that it does not trust', async () => {
    const authority = world.certificates.folder
    await using secure = await startSecure()
    expect(secure.document.url).toMatch(/^https:/)
    const into = await folder('copy')
    const from = `docker://${secure.host}/library/busybox:1.35`
    await run('skopeo', ['copy', '-q', '--all', '--src-cert-dir', authority, from, `dir:${into}`])
    expect((await attempt('skopeo', ['inspect', from])).code).not.toBe(0)
  })

  test('a chart is pulled like any artifact', async () => {
    const chart = await world.pack('chart', [CHART])
    await using other = await startServing(world.airgap, chart.bundle, '--key', world.publicKey)
    await plainCopy(`docker://${other.host}/${CHART}`, chart.images[0]?.digest ?? '')
  })

  test('a part of an index: the source’s index is there by its digest', async () => {
    const part = await world.pack('part', [BUSYBOX], '--platform', 'linux/arm64')
    await using other = await startServing(world.airgap, part.bundle, '--key', world.publicKey)
    const index = part.images[0]?.sourceDigest ?? ''
    const raw = await run('skopeo', [
      'inspect',
      '--raw',
      '--tls-verify=false',
      `docker://${other.host}/library/busybox@${index}`,
    ])
    expect(sha256(Buffer.from(raw))).toBe(index)
  })
})
