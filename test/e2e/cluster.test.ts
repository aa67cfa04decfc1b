import { mkdir, rm, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { describeEnd, type PushReceipt } from './parts/airgap.ts'
import { BUSYBOX, CHART, SCHEMA2 } from './parts/images.ts'
import { attempt, run, type Ended } from './parts/processes.ts'
import { startDistribution3, startDockerRegistry, type Registry } from './parts/registries.ts'
import { withParts } from './parts/tools.ts'
import { openWorld, WORLD_PARTS, type World } from './parts/world.ts'

const FORMATS = ['cosign', 'sigstore-bundle'] as const

interface SignedReceipt extends PushReceipt {
  images: (PushReceipt['images'][number] & {
    imageSignatures: { digest: string; format: string; outcome: string }[]
  })[]
}

withParts('what a cluster can enforce', [...WORLD_PARTS, 'crane', 'cosign'], () => {
  let world: World
  let bundle: string
  let clusterKey: string

  beforeAll(async () => {
    world = await openWorld()
    bundle = (await world.pack('cluster', [BUSYBOX, SCHEMA2, CHART])).bundle
    await world.airgap.run('keygen', '--output-key-prefix', 'cluster')
    clusterKey = world.path('cluster.key')
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  const push = (to: string, receipt: string, ...flags: string[]): Promise<SignedReceipt> =>
    world.airgap.json<SignedReceipt>(
      'push',
      bundle,
      to,
      '--key',
      world.publicKey,
      '--receipt',
      world.path(receipt),
      ...flags,
    )
  const signing = (format: string): string[] => [
    '--sign-images',
    clusterKey,
    '--image-signature-format',
    format,
  ]

  /** Behind a proxy that nobody is at: whatever asks for anything outside fails. */
  const offline = (): NodeJS.ProcessEnv => ({
    PATH: process.env['PATH'],
    HOME: world.folder,
    HTTPS_PROXY: 'http://127.0.0.1:9',
    HTTP_PROXY: 'http://127.0.0.1:9',
    NO_PROXY: '127.0.0.1',
  })

  const cosignVerify = (image: string, key = 'cluster.pub'): Promise<Ended> =>
    attempt('cosign', ['verify', '--key', world.path(key), '--insecure-ignore-tlog', image], {
      env: offline(),
    })

  async function expectVerified(image: string): Promise<void> {
    const result = await cosignVerify(image)
    expect(result.code, `${image}\n${describeEnd(result)}`).toBe(0)
  }

  async function expectRefused(image: string): Promise<void> {
    const result = await cosignVerify(image)
    expect(result.code, `${image}\n${describeEnd(result)}`).not.toBe(0)
    // Not for a reason that would also keep a good one away.
    expect(result.stderr).toMatch(/no (?:matching )?(?:signatures|attestations)/)
  }

  const digestOf = async (image: string, ...flags: string[]): Promise<string> =>
    (await run('crane', ['digest', image, ...flags])).trim()
  const withoutTag = (image: string): string => image.slice(0, image.lastIndexOf(':'))
  const signatureTag = (digest: string): string => `${digest.replace(':', '-')}.sig`

  describe.each([
    ['docker-registry 2.8', startDockerRegistry],
    ['distribution 3', startDistribution3],
  ] as const)('with cosign and %s', (name, start) => {
    withParts('and its program', name === 'distribution 3' ? ['registry'] : [], () => {
      let registry: Registry

      beforeAll(async () => {
        const store = world.path(`store-${name.replaceAll(' ', '-')}`)
        await mkdir(store)
        registry = await start({ store, scratch: world.folder })
      })
      afterAll(() => registry?.[Symbol.asyncDispose]())

      test.each(FORMATS)('everything that was pushed verifies, format %s', async (format) => {
        const receipt = await push(`${registry.host}/${format}`, `${name}-${format}.json`, ...signing(format))
        for (const { target, digest } of receipt.images) {
          await expectVerified(target)
          await expectVerified(`${withoutTag(target)}@${digest}`)
        }
        const index = receipt.images.find(({ source }) => source === BUSYBOX)?.target ?? ''
        const platform = await digestOf(index, '--platform', 'linux/arm64')
        expect(platform).not.toBe(await digestOf(index))
        await expectVerified(`${withoutTag(index)}@${platform}`)
        // The bundle's key is another one.
        expect((await cosignVerify(index, 'airgap.pub')).code).not.toBe(0)

        const again = await push(`${registry.host}/${format}`, `${name}-${format}-2.json`, ...signing(format))
        const outcomes = again.images.flatMap(({ imageSignatures }) =>
          imageSignatures.map((one) => one.outcome),
        )
        expect(new Set(outcomes)).toEqual(new Set(['present']))
      })

      test('a signature that cosign has made stays, and serves where it is by the same key', async () => {
        const to = `${registry.host}/mixed`
        const plain = await push(to, `${name}-mixed.json`)
        const target = plain.images.find(({ source }) => source === SCHEMA2)?.target ?? ''
        const digest = await digestOf(target)
        const sign = [
          'sign',
          '--yes',
          '--key',
          clusterKey,
          '--use-signing-config=false',
          '--tlog-upload=false',
        ]
        await run('cosign', [...sign, '--new-bundle-format=false', `${withoutTag(target)}@${digest}`], {
          env: { ...offline(), COSIGN_PASSWORD: 'corr3ct-horse' },
        })
        await push(to, `${name}-mixed-2.json`, ...signing('cosign'))
        const manifest = await run('crane', ['manifest', `${withoutTag(target)}:${signatureTag(digest)}`])
        const { layers } = JSON.parse(manifest) as { layers: { digest: string }[] }
        // cosign names the target, push the source: two signatures, and cosign reads both.
        expect(layers).toHaveLength(2)
        const verified = await cosignVerify(target)
        expect(verified.code, describeEnd(verified)).toBe(0)
        expect(JSON.parse(verified.stdout)).toHaveLength(2)
      })
    })
  })

  withParts('with containers/image', ['policy-copy'], () => {
    let registry: Registry
    let prefix: string
    let receipt: SignedReceipt

    beforeAll(async () => {
      const store = world.path('store-policy')
      await mkdir(store)
      registry = await startDockerRegistry({ store, scratch: world.folder })
      prefix = `${registry.host}/in`
      receipt = await push(prefix, 'policy.json', ...signing('cosign'))
      await world.airgap.run(
        'policy',
        'containers',
        prefix,
        '--key',
        world.path('cluster.pub'),
        '-o',
        'nodes',
      )
    })
    afterAll(() => registry?.[Symbol.asyncDispose]())

    /** What `podman pull` and CRI-O do, by their own library, with the files that `airgap policy` has written. */
    async function pull(image: string, ...flags: string[]): Promise<Ended> {
      const to = world.path('pulled')
      await rm(to, { recursive: true, force: true })
      const files = [
        '--policy',
        world.path('nodes/policy.json'),
        '--registries.d',
        world.path('nodes/registries.d'),
      ]
      return attempt('policy-copy', [...files, ...flags, image, to], { env: offline() })
    }

    async function expectPulled(image: string, ...flags: string[]): Promise<void> {
      const result = await pull(image, ...flags)
      expect(result.code, `${image}\n${describeEnd(result)}`).toBe(0)
    }

    async function expectRejected(image: string, reason: RegExp, ...flags: string[]): Promise<void> {
      const result = await pull(image, ...flags)
      expect(result.code, `${image}\n${describeEnd(result)}`).not.toBe(0)
      expect(result.stderr).toMatch(/Source image rejected/)
      expect(result.stderr).toMatch(reason)
    }

    const target = (source: string): string =>
      receipt.images.find((one) => one.source === source)?.target ?? ''

    test('an index, all of it, and a single image pass, by tag and by digest', async () => {
      await expectPulled(target(BUSYBOX))
      await expectPulled(target(BUSYBOX), '--all')
      await expectPulled(target(SCHEMA2))
      for (const source of [BUSYBOX, SCHEMA2])
        await expectPulled(`${withoutTag(target(source))}@${await digestOf(target(source))}`)
      const platform = await digestOf(target(BUSYBOX), '--platform', 'linux/arm64')
      await expectPulled(`${withoutTag(target(BUSYBOX))}@${platform}`)
    })

    test('nodes that have the registry as a mirror pull by the source’s name, and are held to the same', async () => {
      const beside = `${prefix}/docker.io/library/unsigned:1`
      await run('crane', ['copy', target(SCHEMA2), `${registry.host}/away/unsigned:1`])
      await run('crane', ['copy', `${registry.host}/away/unsigned:1`, beside])
      const file = world.path('registries.conf')
      await writeFile(
        file,
        ['[[registry]]', 'prefix = "docker.io"', 'location = "127.0.0.1:9"', 'insecure = true'].join('\n') +
          `\n[[registry.mirror]]\nlocation = "${prefix}/docker.io"\ninsecure = true\n`,
      )
      await expectPulled(BUSYBOX, '--registries.conf', file)
      await expectRejected('docker.io/library/unsigned:1', /identity|no signature/, '--registries.conf', file)
    })

    describe('[attack: image-beside-the-gap]', () => {
      test('an image that was copied in is refused', async () => {
        const beside = `${prefix}/docker.io/example/beside:1`
        const made = await run('crane', ['append', '--new_layer', await emptyLayer(), '--new_tag', beside])
        expect(made).toContain('@sha256:')
        await expectRejected(beside, /A signature was required, but no signature exists/)
        await expectRefused(beside)
      })

      test('an image that took the place of a signed one is refused', async () => {
        const own = `${prefix}/docker.io/example/tools:2.0`
        await run('crane', ['copy', target(SCHEMA2), own])
        await run('crane', ['append', '--new_layer', await emptyLayer(), '--new_tag', own])
        await expectRejected(own, /no signature exists/)
        await expectRefused(own)
      })

      test('the signature of another image, put beside it, does not serve', async () => {
        const beside = `${prefix}/docker.io/example/borrowed:1`
        await run('crane', ['append', '--new_layer', await emptyLayer(), '--new_tag', beside])
        const signature = `${withoutTag(target(SCHEMA2))}:${signatureTag(await digestOf(target(SCHEMA2)))}`
        await run('crane', [
          'copy',
          signature,
          `${withoutTag(beside)}:${signatureTag(await digestOf(beside))}`,
        ])
        await expectRejected(beside, /Signature for digest sha256:[0-9a-f]+ does not match/)
        await expectRefused(beside)
      })

      test('a signed image under another name, its signature with it, is refused by the nodes', async () => {
        const digest = await digestOf(target(SCHEMA2))
        for (const name of [
          `${withoutTag(target(SCHEMA2))}:newer`,
          `${prefix}/docker.io/library/busybox:1.36`,
          `${prefix}/registry.k8s.io/pause:3.10`,
        ]) {
          await run('crane', ['copy', target(SCHEMA2), name])
          const signature = `${withoutTag(target(SCHEMA2))}:${signatureTag(digest)}`
          await run('crane', ['copy', signature, `${withoutTag(name)}:${signatureTag(digest)}`])
          await expectRejected(name, /Signature for identity .* is not accepted/)
          // cosign does not compare names, and neither does an admission controller.
          await expectVerified(name)
        }
      })

      test('what lies elsewhere in the registry, or in another one, is refused', async () => {
        await run('crane', ['copy', target(SCHEMA2), `${registry.host}/elsewhere/schema2:1.0`])
        await expectRejected(`${registry.host}/elsewhere/schema2:1.0`, /rejected by policy/)
      })

      test('what was pushed without --sign-images is refused', async () => {
        await push(`${registry.host}/unsigned`, 'unsigned.json')
        const files = [
          'policy',
          'containers',
          `${registry.host}/unsigned`,
          '--key',
          world.path('cluster.pub'),
        ]
        await world.airgap.run(...files, '-o', 'nodes', '--force')
        await expectRejected(target(BUSYBOX).replace('/in/', '/unsigned/'), /no signature exists/)
        await world.airgap.run(
          'policy',
          'containers',
          prefix,
          '--key',
          world.path('cluster.pub'),
          '-o',
          'nodes',
          '--force',
        )
      })
    })

    withParts('and the Skopeo that Debian has', ['skopeo'], () => {
      // Debian 12 builds its containers/image without signatures by Sigstore: it refuses all, and lets nothing pass.
      test('refuses an image beside the gap', async () => {
        const beside = `${prefix}/docker.io/example/skopeo:1`
        await run('crane', ['append', '--new_layer', await emptyLayer(), '--new_tag', beside])
        const files = [
          '--policy',
          world.path('nodes/policy.json'),
          '--registries.d',
          world.path('nodes/registries.d'),
        ]
        const copy = ['copy', '--src-tls-verify=false', `docker://${beside}`, `dir:${world.path('skopeo')}`]
        const result = await attempt('skopeo', [...files, ...copy], { env: offline() })
        expect(result.code, describeEnd(result)).not.toBe(0)
        expect(result.stderr).toContain('Source image rejected')
      })
    })
  })

  async function emptyLayer(): Promise<string> {
    const file = world.path('layer.tar')
    await writeFile(world.path('beside'), `${Math.random()}`)
    await run('tar', ['-C', world.folder, '-cf', file, 'beside'])
    return file
  }
})
