import { mkdir, readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Airgap, describeEnd, KEY_PASSWORD } from './parts/airgap.ts'
import { cosignIn, THEIR_PASSWORD } from './parts/cosign.ts'
import { CHART, SCHEMA2 } from './parts/images.ts'
import { attempt, run } from './parts/processes.ts'
import { withParts } from './parts/tools.ts'
import { openWorld, WORLD_PARTS, type World } from './parts/world.ts'

withParts('keys', WORLD_PARTS, () => {
  let world: World
  let bundle: string

  beforeAll(async () => {
    world = await openWorld()
    bundle = (await world.pack('signed', [SCHEMA2, CHART])).bundle
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  withParts('and cosign', ['cosign'], () => {
    describe('with a key pair that cosign has made', () => {
      let folder: string
      let signed: string

      beforeAll(async () => {
        folder = world.path('cosign')
        signed = world.path('by-cosign.tar')
        await mkdir(folder)
        const made = await cosignIn(folder)('generate-key-pair')
        expect(made.code, describeEnd(made)).toBe(0)
        const theirs = new Airgap(folder, { AIRGAP_PASSWORD: undefined, COSIGN_PASSWORD: THEIR_PASSWORD })
        const flags = ['--resolve-from', 'mirror', ...world.reading()]
        await theirs.run('pack', SCHEMA2, CHART, '-o', signed, '--key', 'cosign.key', ...flags)
      })

      test('pack signs, and verify accepts by the public key', async () => {
        const evidence = await world.airgap.json<{ verdict: string }>(
          'verify',
          signed,
          '--key',
          `${folder}/cosign.pub`,
        )
        expect(evidence.verdict).toBe('good')
      })

      test('cosign verifies what pack has signed', async () => {
        await run('tar', ['-C', folder, '-xf', signed, 'SHA256SUMS', 'SHA256SUMS.sigstore.json'])
        const result = await cosignIn(folder)(...verifyBlob('cosign.pub'))
        expect(result.code, describeEnd(result)).toBe(0)
      })

      test('another key is refused', async () => {
        const result = await world.airgap.attempt('verify', signed, '--key', world.publicKey)
        expect(result.code, describeEnd(result)).toBe(3)
      })

      test('the wrong password is said to be wrong', async () => {
        const wrong = new Airgap(folder, { AIRGAP_PASSWORD: 'wrong' })
        const result = await wrong.attempt(
          'pack',
          SCHEMA2,
          '-o',
          'no.tar',
          '--key',
          'cosign.key',
          ...world.reading(),
        )
        expect(result.code, describeEnd(result)).toBe(5)
        expect(result.stderr).toContain('password')
      })
    })

    test('cosign opens a private key of keygen, and finds the same public key in it', async () => {
      const result = await attempt('cosign', ['public-key', '--key', world.privateKey], {
        cwd: world.folder,
        env: { PATH: process.env['PATH'], HOME: world.folder, COSIGN_PASSWORD: KEY_PASSWORD },
      })
      expect(result.code, describeEnd(result)).toBe(0)
      expect(result.stdout.trim()).toBe((await readFile(world.publicKey, 'utf8')).trim())
    })

    test('cosign verifies by a public key of keygen', async () => {
      const folder = world.path('ours')
      await mkdir(folder)
      await run('tar', ['-C', folder, '-xf', bundle, 'SHA256SUMS', 'SHA256SUMS.sigstore.json'])
      const result = await cosignIn(folder)(...verifyBlob(world.publicKey))
      expect(result.code, describeEnd(result)).toBe(0)
    })
  })

  test('openssl reads a public key of keygen as ECDSA on P-256', async () => {
    const text = await run('openssl', ['pkey', '-pubin', '-in', world.publicKey, '-noout', '-text'])
    expect(text).toContain('prime256v1')
  })

  withParts('without any network', ['network namespaces'], () => {
    test('verify gives the same evidence', async () => {
      const args = ['verify', bundle, '--key', world.publicKey, '--json']
      const online = await world.airgap.attempt(...args)
      const offline = await world.airgap.attemptOffline(...args)
      expect(offline.code, describeEnd(offline)).toBe(0)
      expect(JSON.parse(offline.stdout)).toEqual(JSON.parse(online.stdout))
    })

    test('inspect works', async () => {
      const result = await world.airgap.attemptOffline('inspect', bundle)
      expect(result.code, describeEnd(result)).toBe(0)
      expect(result.stdout).toContain(CHART)
    })

    test('and that really is none', async () => {
      const result = await world.airgap.attemptOffline(
        'resolve',
        `${world.source.host}/team/app:1.0`,
        ...world.writing,
      )
      expect(result.code, describeEnd(result)).toBe(4)
    })
  })
})

function verifyBlob(key: string): string[] {
  return [
    'verify-blob',
    '--key',
    key,
    '--bundle',
    'SHA256SUMS.sigstore.json',
    '--insecure-ignore-tlog',
    'SHA256SUMS',
  ]
}
