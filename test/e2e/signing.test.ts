import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AMD64, buildImage, seedRegistry } from '../../fixtures/images/index.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { Airgap, describeEnd } from './parts/airgap.ts'
import { cosignIn, SIGN_OFFLINE, THEIR_PASSWORD, verifyOffline } from './parts/cosign.ts'
import { attempt, run, type Ended } from './parts/processes.ts'
import { scratch } from './parts/scratch.ts'
import { HSM_MODULE, KINDS, makeKeys, makeToken } from './parts/signers.ts'
import { withParts, type Part } from './parts/tools.ts'

const GENERATIONS = [
  [3, 'cosign'],
  [2, 'cosign-2'],
] as const satisfies [2 | 3, Part][]

withParts('signing', ['setpriv', 'openssl', 'tar'], () => {
  let outside: EmbeddedRegistry
  let space: Awaited<ReturnType<typeof scratch>>
  let folder: string
  let airgap: Airgap
  let image: string

  beforeAll(async () => {
    space = await scratch()
    folder = space.path
    outside = await startRegistry()
    const built = await buildImage({ platform: AMD64, files: { hello: 'hello' }, compression: 'none' })
    seedRegistry(outside.store, 'app:1', built)
    image = `${outside.host}/app:1`
    airgap = new Airgap(folder)
    await airgap.run('pack', image, '-o', 'unsigned.tar', '--no-sign')
    await run('tar', ['-xf', 'unsigned.tar', 'SHA256SUMS'], { cwd: folder })
  })
  afterAll(async () => {
    await outside?.close()
    await space?.[Symbol.asyncDispose]()
  })

  const path = (name: string): string => join(folder, name)
  const openssl = (...args: string[]): Promise<Ended> => attempt('openssl', args, { cwd: folder })

  async function expectSuccess(ending: Promise<Ended>): Promise<Ended> {
    const result = await ending
    expect(result.code, describeEnd(result)).toBe(0)
    return result
  }

  async function expectRefusal(ending: Promise<Ended>, words?: string): Promise<void> {
    const result = await ending
    expect(result.code, describeEnd(result)).not.toBe(0)
    if (words !== undefined) expect(describeEnd(result)).toContain(words)
  }

  /** Signature entries of a bundle, in a folder of their own with the list. */
  async function taken(bundle: string): Promise<string> {
    const to = path(`${bundle}.d`)
    await mkdir(to)
    await run('tar', [
      '-C',
      to,
      '-xf',
      path(bundle),
      'SHA256SUMS',
      'SHA256SUMS.sigstore.json',
      'SHA256SUMS.sig',
    ])
    return to
  }

  const verifyBlob = (pub: string, ...more: string[]): string[] => [
    'verify-blob',
    '--key',
    pub,
    ...more,
    'SHA256SUMS',
  ]

  describe.each(Object.keys(KINDS))('a key of the kind %s', (kind) => {
    let keys: { key: string; pub: string }
    let other: { key: string; pub: string }
    let signed: string

    beforeAll(async () => {
      keys = await makeKeys(folder, kind)
      await mkdir(path(`other-${kind}`))
      other = await makeKeys(path(`other-${kind}`), kind)
      await airgap.run('pack', image, '-o', `${kind}.tar`, '--key', keys.key)
      await airgap.run('sign', 'unsigned.tar', '--key', keys.key, '-o', `${kind}.approved.json`)
      signed = await taken(`${kind}.tar`)
    })

    const detached = (file: string, pub = keys.pub): Promise<Ended> =>
      airgap.attempt('verify', 'unsigned.tar', '--signature', file, '--key', pub)

    async function expectGood(file: string): Promise<void> {
      await expectSuccess(detached(file))
      await expectRefusal(detached(file, other.pub), 'key')
    }

    test('openssl verifies what pack has signed, and airgap what openssl has', async () => {
      const dgst = (pub: string): Promise<Ended> =>
        openssl(
          'dgst',
          '-sha256',
          '-verify',
          pub,
          '-signature',
          join(signed, 'SHA256SUMS.sig'),
          join(signed, 'SHA256SUMS'),
        )
      await expectSuccess(airgap.attempt('verify', `${kind}.tar`, '--key', keys.pub))
      await expectSuccess(dgst(keys.pub))
      await expectRefusal(dgst(other.pub))
      await run(
        'openssl',
        ['dgst', '-sha256', '-sign', keys.key, '-out', `${kind}.openssl.sig`, 'SHA256SUMS'],
        {
          cwd: folder,
        },
      )
      await expectGood(`${kind}.openssl.sig`)
    })

    test('sign makes what verify takes', () => expectGood(`${kind}.approved.json`))

    describe.each(GENERATIONS)('and cosign %i', (generation, part) => {
      withParts('at hand', [part], () => {
        const blob = (pub: string, ...more: string[]): Promise<Ended> =>
          cosignIn(signed, generation)(...verifyBlob(pub, ...more))

        test('verifies what pack has signed, in both forms', async () => {
          const bundle = [
            '--bundle',
            'SHA256SUMS.sigstore.json',
            ...(await verifyOffline(folder, generation)),
          ]
          const raw = ['--signature', 'SHA256SUMS.sig', '--insecure-ignore-tlog']
          for (const flags of [bundle, raw]) {
            await expectSuccess(blob(keys.pub, ...flags))
            await expectRefusal(blob(other.pub, ...flags))
          }
        })

        test('verifies what sign has made', async () => {
          const flags = [
            '--bundle',
            path(`${kind}.approved.json`),
            ...(await verifyOffline(folder, generation)),
          ]
          await expectSuccess(cosignIn(folder, generation)(...verifyBlob(keys.pub, ...flags)))
        })

        test('signs what verify takes, in every form; and its own private key signs here', async () => {
          const own = path(`${kind}-cosign-${generation}`)
          await mkdir(own)
          const cosign = cosignIn(own, generation)
          await expectSuccess(cosign('import-key-pair', '--key', keys.key, '--output-key-prefix', 'own'))
          await writeFile(join(own, 'SHA256SUMS'), await readFile(path('SHA256SUMS')))
          const sign = async (...flags: string[]): Promise<void> => {
            await expectSuccess(
              cosign('sign-blob', '--key', 'own.key', ...SIGN_OFFLINE[generation], ...flags, 'SHA256SUMS'),
            )
          }
          if (generation === 3) {
            await sign('--bundle', 'new.json')
          } else {
            await sign('--new-bundle-format', '--bundle', 'new.json')
            await sign('--bundle', 'old.json', '--output-signature', 'old.sig')
            await expectGood(join(own, 'old.json'))
            await expectGood(join(own, 'old.sig'))
          }
          await expectGood(join(own, 'new.json'))

          const theirs = new Airgap(folder, { AIRGAP_PASSWORD: undefined, COSIGN_PASSWORD: THEIR_PASSWORD })
          const bundle = `${kind}-by-cosign-${generation}.tar`
          await theirs.run('pack', image, '-o', bundle, '--key', join(own, 'own.key'))
          await expectSuccess(airgap.attempt('verify', bundle, '--key', keys.pub))
        })
      })
    })
  })

  withParts('by a key in SoftHSM', ['softhsm2-util', 'pkcs11-tool'], () => {
    let held: Airgap
    /** `openssl` hashes, because SoftHSM has no mechanism for ECDSA that does. */
    let script: string
    const tool = `pkcs11-tool --module ${HSM_MODULE} --login --pin env:HSM_PIN --sign`

    beforeAll(async () => {
      held = new Airgap(folder, await makeToken(folder))
      script = path('sign-with-hsm')
      await writeFile(
        script,
        `#!/bin/sh\nopenssl dgst -sha256 -binary | ${tool} --id 01 --mechanism ECDSA --signature-format openssl\n`,
      )
      await chmod(script, 0o755)
    })

    test('P-256, by a script', async () => {
      await held.run('pack', image, '-o', 'hsm-ec.tar', '--sign-command', script, '--public-key', '01.pub')
      await expectSuccess(airgap.attempt('verify', 'hsm-ec.tar', '--key', '01.pub'))
    })

    test('RSA, by pkcs11-tool alone', async () => {
      const command = `${tool} --id 02 --mechanism SHA256-RSA-PKCS`
      await held.run('pack', image, '-o', 'hsm-rsa.tar', '--sign-command', command, '--public-key', '02.pub')
      await expectSuccess(airgap.attempt('verify', 'hsm-rsa.tar', '--key', '02.pub'))
      const flags = ['--sign-command', command, '--public-key', '02.pub', '-o', 'hsm-approved.json']
      await held.run('sign', 'hsm-ec.tar', '--verify-key', '01.pub', ...flags)
      await expectSuccess(
        airgap.attempt('verify', 'hsm-ec.tar', '--signature', 'hsm-approved.json', '--key', '02.pub'),
      )
    })

    test('a plan does not touch the token; another public key, a wrong PIN and no token are told apart', async () => {
      const command = `${tool} --id 02 --mechanism SHA256-RSA-PKCS`
      const pack = (airgapHere: Airgap, ...more: string[]): Promise<Ended> =>
        airgapHere.attempt('pack', image, '-o', 'no.tar', '--sign-command', command, ...more)
      const wrongPin = new Airgap(folder, { SOFTHSM2_CONF: path('softhsm2.conf'), HSM_PIN: '99999999' })
      await expectSuccess(pack(wrongPin, '--public-key', '02.pub', '--dry-run'))
      const refused = await pack(wrongPin, '--public-key', '02.pub')
      expect(refused.code, describeEnd(refused)).toBe(5)
      expect(refused.stderr).toContain('CKR_PIN_INCORRECT')
      expect(refused.stderr).not.toContain('99999999')
      await expectRefusal(pack(new Airgap(folder), '--public-key', '02.pub'), 'the sign command pkcs11-tool')
      await expectRefusal(pack(held, '--public-key', '01.pub'), 'not a signature by the key')
    })
  })
})
