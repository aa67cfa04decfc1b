import { mkdtemp, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeEnd, KEY_PASSWORD, type PushReceipt } from './parts/airgap.ts'
import { BUSYBOX, DOCKER_LIST, LARGE } from './parts/images.ts'
import { poll, run } from './parts/processes.ts'
import { expectSkopeoToRead, skopeoFlags } from './parts/readers.ts'
import { withParts } from './parts/tools.ts'
import { openWorld, WORLD_PARTS, type World } from './parts/world.ts'

withParts('push', WORLD_PARTS, () => {
  let world: World

  beforeAll(async () => {
    world = await openWorld()
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  const inspecting = (): string[] => skopeoFlags(world).map((flag) => flag.replace('--src-', '--'))
  const pushTo = (bundle: string, to: string, receipt: string): string[] => [
    'push',
    bundle,
    to,
    '--key',
    world.publicKey,
    '--receipt',
    world.path(receipt),
    ...world.writing,
  ]

  test('of one platform out of several delivers the upstream’s own manifest', async () => {
    const target = await world.target()
    const packed = await world.pack('one', [BUSYBOX, DOCKER_LIST], '--platform', 'linux/arm64')
    const receipt = await world.airgap.json<PushReceipt>(...pushTo(packed.bundle, target.host, 'one.json'))
    await expectSkopeoToRead(world, receipt, packed.images)
    for (const { source, digest } of packed.images) {
      const index = await run('skopeo', [
        'inspect',
        '--raw',
        ...inspecting(),
        `docker://${world.source.host}/${source}`,
      ])
      const { manifests } = JSON.parse(index) as {
        manifests: { digest: string; platform: { architecture: string } }[]
      }
      expect(manifests.find(({ platform }) => platform.architecture === 'arm64')?.digest).toBe(digest)
    }
  })

  test('of a digest alone puts it by digest, with a tag that keeps it', async () => {
    const target = await world.target()
    const { images } = await world.pack('tagged', [BUSYBOX])
    const digest = images[0]?.digest ?? ''
    const name = BUSYBOX.slice(0, BUSYBOX.lastIndexOf(':'))
    const packed = await world.pack('pinned', [`${name}@${digest}`])
    const receipt = await world.airgap.json<PushReceipt>(...pushTo(packed.bundle, target.host, 'pinned.json'))
    expect(receipt.images[0]?.target).toBe(`${target.host}/${name}:airgap-${digest.slice(7, 19)}`)
    await run('skopeo', ['inspect', '--raw', ...inspecting(), `docker://${target.host}/${name}@${digest}`])
  })

  test('ended by SIGKILL leaves no receipt, and the same command is taken up again', async () => {
    const target = await world.target()
    const { bundle } = await world.pack('large', [LARGE])
    const { child, ended } = world.airgap.start(...pushTo(bundle, target.host, 'killed.json'))
    await poll('the upload to begin', () => (target.output().includes('blobs/uploads') ? true : undefined))
    child.kill('SIGKILL')
    await ended
    expect(await readdir(world.folder)).not.toContain('killed.json')
    const receipt = await world.airgap.json<PushReceipt>(...pushTo(bundle, target.host, 'killed.json'))
    expect(receipt.images).toHaveLength(1)
  })

  withParts('with a signature from beside the bundle', ['cosign'], () => {
    test('made by cosign with our key, verify takes an unsigned bundle', async () => {
      const folder = await mkdtemp(join(world.folder, 'detached-'))
      const { lockFile } = await world.pack('detached', [BUSYBOX])
      const unsigned = join(folder, 'unsigned.tar')
      await world.airgap.run('pack', '--lock', lockFile, '-o', unsigned, '--no-sign', ...world.reading())
      await run('tar', ['-xf', unsigned, '-C', folder, 'SHA256SUMS'])
      const signature = join(folder, 'detached.json')
      // No log is asked: the signature of a test has no business in a public one.
      const offline = ['--use-signing-config=false', '--tlog-upload=false', '--yes']
      await run(
        'cosign',
        ['sign-blob', '--key', world.privateKey, ...offline, '--bundle', signature, 'SHA256SUMS'],
        {
          cwd: folder,
          env: { ...process.env, HOME: folder, COSIGN_PASSWORD: KEY_PASSWORD },
        },
      )
      expect((await world.airgap.attempt('verify', unsigned, '--key', world.publicKey)).code).toBe(3)
      const taken = await world.airgap.attempt(
        'verify',
        unsigned,
        '--key',
        world.publicKey,
        '--signature',
        signature,
      )
      expect(taken.code, describeEnd(taken)).toBe(0)
    })
  })
})
