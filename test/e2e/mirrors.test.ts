import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Airgap, describeEnd, type LockedImage } from './parts/airgap.ts'
import { imageStore } from './parts/build-images.ts'
import { startContainerd, writeHostsFiles, type Containerd } from './parts/containerd.ts'
import { BUSYBOX } from './parts/images.ts'
import { attempt } from './parts/processes.ts'
import { logged, requestsIn, startDockerRegistry, type Registry } from './parts/registries.ts'
import { scratch } from './parts/scratch.ts'
import { withParts, type Part } from './parts/tools.ts'
import { WORLD_PARTS } from './parts/world.ts'

/** The mirror configurations of others mean to us what they mean to those whose they are: whom each really asks is compared. */

// What of the world is used here.
const PARTS: readonly Part[] = WORLD_PARTS

withParts('mirrors', PARTS, () => {
  let stack: AsyncDisposableStack
  let folder: string
  let airgap: Airgap
  let digest: string
  /** Two that hold all images below `docker.io/`, and one that holds nothing. All speak plain HTTP. */
  let registries: Record<'A' | 'B' | 'EMPTY', Registry>
  let marks = 0

  beforeAll(async () => {
    stack = new AsyncDisposableStack()
    folder = stack.use(await scratch()).path
    airgap = new Airgap(folder)
    const store = await imageStore()
    const nothing = join(folder, 'nothing')
    await mkdir(nothing)
    registries = {
      A: stack.use(await startDockerRegistry({ store, scratch: folder, readOnly: true })),
      B: stack.use(await startDockerRegistry({ store, scratch: folder, readOnly: true })),
      EMPTY: stack.use(await startDockerRegistry({ store: nothing, scratch: folder, readOnly: true })),
    }
    const mirror = ['--mirror', `docker.io=${registries.A.host}/docker.io`, '--resolve-from', 'mirror']
    const lock = await airgap.json<{ images: LockedImage[] }>('resolve', BUSYBOX, ...mirror)
    digest = lock.images[0]?.sourceDigest ?? ''
  })
  afterAll(() => stack?.disposeAsync())

  /** `A` and so on stand for their hosts. */
  const filled = (text: string): string =>
    text.replaceAll(/\b(A|B|EMPTY)\b/g, (name) => registries[name as keyof typeof registries].host)

  /** Which manifests were asked for by this name at each registry while something ran. */
  const asked = async (reference: string, run: () => Promise<unknown>): Promise<string[]> => {
    const before = Object.fromEntries(
      Object.entries(registries).map(([name, { output }]) => [name, requestsIn(output()).length]),
    )
    await run()
    marks += 1
    const found = new Set<string>()
    for (const [name, registry] of Object.entries(registries)) {
      const mark = `/v2/mark/${marks}`
      await fetch(`http://${registry.host}${mark}`)
      await logged(registry, `GET ${mark}`)
      for (const request of requestsIn(registry.output()).slice(before[name])) {
        const [path = ''] = request.split(' ').slice(1)
        if (path.includes(`/manifests/${reference}`)) found.add(`${name} ${path}`)
      }
    }
    return [...found].toSorted()
  }

  const place = (name: string): Promise<string> => mkdtemp(join(folder, `${name}-`))

  const write = async (root: string, files: Record<string, string>): Promise<void> => {
    for (const [name, content] of Object.entries(files)) {
      await mkdir(dirname(join(root, name)), { recursive: true })
      await writeFile(join(root, name), filled(content))
    }
  }

  describe('registries.conf: skopeo and airgap ask the same registries for the same', () => {
    const INSECURE = 'insecure = true\n'
    const CASES: [name: string, image: string, conf: string, where: string[]][] = [
      [
        'a mirror',
        'docker.io/library/busybox:1.35',
        `[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "A/docker.io"\n${INSECURE}`,
        ['A /v2/docker.io/library/busybox/manifests/1.35'],
      ],
      [
        'mirrors in order, the first of which lacks it',
        'docker.io/library/busybox:1.35',
        `[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "EMPTY/x"\n${INSECURE}[[registry.mirror]]\nlocation = "B/docker.io"\n${INSECURE}[[registry.mirror]]\nlocation = "A/docker.io"\n${INSECURE}`,
        ['B /v2/docker.io/library/busybox/manifests/1.35', 'EMPTY /v2/x/library/busybox/manifests/1.35'],
      ],
      [
        'the longest of several prefixes, and only that',
        'docker.io/library/busybox:1.35',
        `[[registry]]\nprefix = "docker.io"\nlocation = "EMPTY/wide"\n${INSECURE}[[registry]]\nprefix = "docker.io/library"\nlocation = "A/docker.io/library"\n${INSECURE}[[registry]]\nprefix = "docker.io/library/busy"\nlocation = "EMPTY/no"\n${INSECURE}`,
        ['A /v2/docker.io/library/busybox/manifests/1.35'],
      ],
      [
        'a prefix that is the whole name',
        'my.example/box:1.35',
        `[[registry]]\nprefix = "my.example/box"\nlocation = "A/docker.io/library/busybox"\n${INSECURE}`,
        ['A /v2/docker.io/library/busybox/manifests/1.35'],
      ],
      [
        'a wildcard, and a longer one',
        'a.deep.example.com/library/busybox:1.35',
        `[[registry]]\nprefix = "*.example.com"\nlocation = "EMPTY"\n${INSECURE}[[registry]]\nprefix = "*.deep.example.com"\nlocation = "A/docker.io"\n${INSECURE}`,
        ['A /v2/docker.io/library/busybox/manifests/1.35'],
      ],
      [
        'a host before a wildcard',
        'host.example.com/library/busybox:1.35',
        `[[registry]]\nprefix = "*.example.com"\nlocation = "EMPTY"\n${INSECURE}[[registry]]\nprefix = "host.example.com"\nlocation = "B/docker.io"\n${INSECURE}`,
        ['B /v2/docker.io/library/busybox/manifests/1.35'],
      ],
      [
        'a tag, where mirrors are for digests only',
        'my.example/library/busybox:1.35',
        `[[registry]]\nprefix = "my.example"\nlocation = "B/docker.io"\n${INSECURE}mirror-by-digest-only = true\n[[registry.mirror]]\nlocation = "A/docker.io"\n${INSECURE}`,
        ['B /v2/docker.io/library/busybox/manifests/1.35'],
      ],
      [
        'a digest, where mirrors are for digests only',
        'my.example/library/busybox@DIGEST',
        `[[registry]]\nprefix = "my.example"\nlocation = "B/docker.io"\n${INSECURE}mirror-by-digest-only = true\n[[registry.mirror]]\nlocation = "A/docker.io"\n${INSECURE}`,
        ['A /v2/docker.io/library/busybox/manifests/DIGEST'],
      ],
      [
        'trailing slashes',
        'my.example/library/busybox:1.35',
        `[[registry]]\nprefix = "my.example/"\nlocation = "A/docker.io/"\n${INSECURE}`,
        ['A /v2/docker.io/library/busybox/manifests/1.35'],
      ],
    ]

    test.each(CASES)('%s', async (_, image, conf, where) => {
      const root = await place('conf')
      await write(root, { 'registries.conf': conf })
      const file = join(root, 'registries.conf')
      const name = image.replace('DIGEST', digest)
      const reference = /(?::|@)([^:@]+(?::[0-9a-f]{64})?)$/.exec(name)?.[1] ?? ''
      const expected = where.map((line) => line.replace('DIGEST', digest))

      const bySkopeo = await asked(reference, async () => {
        const end = await attempt('skopeo', [
          '--registries-conf',
          file,
          'inspect',
          '--raw',
          `docker://${name}`,
        ])
        if (end.code !== 0) throw new Error(describeEnd(end))
      })
      expect(bySkopeo).toEqual(expected)
      const flags = ['--mirrors-from', file, '--resolve-from', 'mirror']
      const byAirgap = await asked(reference, () => airgap.run('resolve', name, ...flags))
      expect(byAirgap).toEqual(expected)
    })

    test('blocked: neither asks anybody', async () => {
      const root = await place('conf')
      const conf = `[[registry]]\nlocation = "my.example"\nblocked = true\n[[registry]]\nprefix = "moved.example"\nlocation = "my.example"\n`
      await write(root, { 'registries.conf': conf })
      const file = join(root, 'registries.conf')
      for (const host of ['my.example', 'my.example:5000', 'moved.example']) {
        const name = `${host}/library/busybox:1.35`
        const requests = await asked('1.35', async () => {
          const skopeo = await attempt('skopeo', [
            '--registries-conf',
            file,
            'inspect',
            '--raw',
            `docker://${name}`,
          ])
          expect(skopeo.stderr).toContain('blocked')
          const ours = await airgap.attempt('resolve', name, '--mirrors-from', file)
          expect(ours.stderr).toContain(`${file} blocks`)
          expect(ours.code).toBe(5)
        })
        expect(requests).toEqual([])
      }
    })

    test('drop-ins beside the file', async () => {
      const home = await place('home')
      const of = (prefix: string, location: string): string =>
        `[[registry]]\nprefix = "${prefix}"\nlocation = "${location}"\n${INSECURE}`
      await write(home, {
        '.config/containers/registries.conf': of('a.example', 'EMPTY/main') + of('b.example', 'A/docker.io'),
        '.config/containers/registries.conf.d/20.conf': of('a.example', 'B/docker.io'),
        '.config/containers/registries.conf.d/10.conf': of('a.example', 'EMPTY/early'),
      })
      const env = { PATH: process.env['PATH'], HOME: home }
      const flags = ['--mirrors-from', join(home, '.config/containers'), '--resolve-from', 'mirror']
      for (const [host, expected] of [
        ['a.example', 'B /v2/docker.io/library/busybox/manifests/1.35'],
        ['b.example', 'A /v2/docker.io/library/busybox/manifests/1.35'],
      ]) {
        const name = `${host}/library/busybox:1.35`
        const bySkopeo = await asked('1.35', async () => {
          const end = await attempt('skopeo', ['inspect', '--raw', `docker://${name}`], { env })
          if (end.code !== 0) throw new Error(describeEnd(end))
        })
        expect(bySkopeo).toEqual([expected])
        expect(await asked('1.35', () => airgap.run('resolve', name, ...flags))).toEqual([expected])
      }
    })
  })

  withParts('containerd', ['containerd', 'ctr'], () => {
    let containerd: Containerd

    beforeAll(async () => {
      containerd = stack.use(await startContainerd(await place('containerd')))
    })

    const CASES: [name: string, files: Record<string, string>, where: string[]][] = [
      [
        'hosts in the order of the file',
        {
          'docker.io': `server = "https://registry-1.docker.io"
[host."http://EMPTY"]
  capabilities = ["pull", "resolve"]
[host."http://B/v2/docker.io"]
  capabilities = ["pull", "resolve"]
  override_path = true
[host."http://A/v2/docker.io"]
  override_path = true
`,
        },
        [
          'B /v2/docker.io/library/busybox/manifests/1.35?ns=docker.io',
          'EMPTY /v2/library/busybox/manifests/1.35?ns=docker.io',
        ],
      ],
      [
        'the folder for all others, and a server in place of the registry',
        // containerd 1.6 does not read files without the table.
        { _default: 'server = "http://A/v2/docker.io"\noverride_path = true\n[host]\n' },
        ['A /v2/docker.io/library/busybox/manifests/1.35?ns=docker.io'],
      ],
      [
        'a registry before all others; who may not resolve is not asked for a tag',
        {
          _default: '[host."http://EMPTY"]\n',
          'docker.io': `[host."http://A/v2/docker.io"]
  capabilities = ["pull"]
  override_path = true
[host."http://B/v2/docker.io"]
  capabilities = ["pull", "resolve"]
  override_path = true
`,
        },
        ['B /v2/docker.io/library/busybox/manifests/1.35?ns=docker.io'],
      ],
    ]

    test.each(CASES)('hosts.toml: ctr and airgap ask the same registries: %s', async (_, content, where) => {
      const hosts = await place('hosts')
      await writeHostsFiles(
        hosts,
        new Map(Object.entries(content).map(([name, text]) => [name, filled(text)])),
      )
      const pull = ['images', 'pull', '--hosts-dir', hosts, '--snapshotter', 'native']
      const byCtr = await asked('1.35', () => containerd.ctr(...pull, BUSYBOX))
      expect(decoded(byCtr)).toEqual(where)
      const flags = ['--mirrors-from', hosts, '--resolve-from', 'mirror']
      const byAirgap = await asked('1.35', () => airgap.run('resolve', BUSYBOX, ...flags))
      expect(decoded(byAirgap)).toEqual(where)
    })

    const decoded = (lines: readonly string[]): string[] => lines.map((line) => decodeURIComponent(line))
  })

  test('a bundle is packed from mirrors of both kinds alike, and its lock names the source alone', async () => {
    const root = await place('both')
    await write(root, {
      'registries.conf': `[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "A/docker.io"\ninsecure = true\n`,
      'certs.d/docker.io/hosts.toml': `[host."http://B/v2/docker.io"]\noverride_path = true\n`,
    })
    const pinned = `${BUSYBOX}@${digest}`
    const locks: string[] = []
    for (const config of [join(root, 'registries.conf'), join(root, 'certs.d')]) {
      const lock = join(root, `${locks.length}.lock`)
      await airgap.run('resolve', pinned, '-o', lock, '--mirrors-from', config)
      locks.push(lock)
      await airgap.run('pack', '--lock', lock, '--no-sign', '-o', `${lock}.tar`, '--mirrors-from', config)
      await airgap.run('verify', `${lock}.tar`, '--integrity-only')
    }
    const [first, second] = await Promise.all(
      locks.map((lock) => attempt('cat', [lock]).then(({ stdout }) => stdout)),
    )
    expect(first).toBe(second)
    expect(first).toContain('"resolvedFrom": "source"')
    expect(first).not.toContain('127.0.0.1')
  })
})
