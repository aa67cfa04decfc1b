import { createHash } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../support/build-bundle.ts'
import { residentAirgap } from '../../support/airgap.ts'
import { expectResult } from '../../support/schemas.ts'
import { openPlace } from './place.ts'
import { IDENTITY, identityToken, ISSUER } from '../../support/sigstore-services.ts'
import { startRepository, trustedRootOf } from '../../support/tuf-repository.ts'

test('pack --keyless signs as the job, says so, and says how to check it', async () => {
  const place = await openPlace()
  const { folder: cwd, services } = place
  const flags = ['--keyless', '--signing-config', 'signing.json', '--trusted-root', 'trusted_root.json']
  const command = ['pack', place.images[0]!, '-o', 'out.tar', '--retries', '0', ...flags]
  const run = (args: string[], token?: string) =>
    residentAirgap(args, { cwd, env: token === undefined ? {} : { SIGSTORE_ID_TOKEN: token } })

  expect(await run(command)).toMatchObject({
    code: 5,
    stderr: expect.stringMatching(/^Error: there is no identity token to sign with\n/) as string,
  })
  const past = Math.floor(Date.now() / 1000) - 60
  expect(await run(command, identityToken({ exp: past }))).toMatchObject({
    code: 5,
    stderr: expect.stringMatching(/the identity token in SIGSTORE_ID_TOKEN has expired/) as string,
  })
  expect(place.asked()).toBe(0)

  services.faults.tsa = () => ({ status: 502, body: '' })
  const unsigned = await run(command, identityToken())
  expect(unsigned.code).toBe(6)
  expect(unsigned.stderr).toMatch(/out\.tar is complete except for its signature/)
  expect(unsigned.stderr).toMatch(/timestamp authority \(http:.*502 Bad Gateway/s)
  expect(unsigned.stderr).toMatch(/are in out\.tar\.partial; the same command resumes/)
  services.faults = {}
  const signed = await run(command, identityToken())
  expect(signed.stderr).toMatch(/If\sthese\sare\spublic,\sthis\scannot\sbe\sundone/)
  expect(signed.code).toBe(0)
  expect(signed.stdout).toContain(`signed by      ${IDENTITY} (certificate)`)
  expect(signed.stdout).toContain(`--certificate-identity ${IDENTITY} \\`)
  expect(signed.stdout).toContain(`--certificate-oidc-issuer ${ISSUER}\n`)

  const json = await run([...command, '--force', '--json'], identityToken())
  expectResult('pack', json.json())
  expect(json.json()).toMatchObject({
    hasSignature: true,
    certificate: { identity: IDENTITY, issuer: ISSUER, logEntries: [{ url: services.origin }] },
  })

  for (const [args, words] of [
    [['-o', '-', '--keyless'], '--keyless cannot sign a bundle that goes to standard output'],
    [['-o', 'x.tar', '--keyless', '--no-sign'], 'no-sign'],
    [['-o', 'x.tar', '--no-sign', '--signing-config', 'x'], '--signing-config needs --keyless'],
    [
      ['-o', 'x.tar', '--no-sign', '--trusted-root', 'x'],
      '--trusted-root needs --keyless or --verify-upstream',
    ],
    [['-o', 'x.tar'], 'give one of --key FILE, --sign-command COMMAND, --keyless and --no-sign'],
  ] as const) {
    const { code, stderr } = await run(['pack', 'nginx', ...args])
    expect(code).toBe(2)
    expect(stderr).toContain(words)
  }
})

test('the trusted root is for upstreams, too', async () => {
  const cwd = await temporaryFolder()
  const root = await trustedRootOf('https://fulcio.example.internal', '2025-09-23T00:00:00Z')
  await writeFile(join(cwd, 'trusted_root.json'), root)
  const given = ['--verify-upstream', 'kubernetes', '--trusted-root', 'trusted_root.json']
  const { code, stderr } = await residentAirgap(
    ['pack', 'registry.invalid/a:1', '-o', 'x.tar', '--no-sign', '--retries', '0', ...given],
    { cwd },
  )
  // It has come to the registry.
  expect(stderr).toContain('registry.invalid')
  expect(code).toBe(4)
})

test('trust-root fetch writes the trusted root, over nothing, and leaves nothing else', async () => {
  const cwd = await temporaryFolder()
  const root = await trustedRootOf('https://fulcio.example.internal', '2025-09-23T00:00:00Z')
  const repository = await startRepository(root)
  await writeFile(join(cwd, 'root.json'), repository.root)
  const command = ['trust-root', 'fetch', '--mirror', repository.url, '--root', 'root.json', '--retries', '0']
  const { code, stdout } = await residentAirgap(command, { cwd, env: { TMPDIR: cwd } })
  expect(code).toBe(0)
  expect(await readFile(join(cwd, 'trusted_root.json'))).toEqual(root)
  expect(stdout).toContain(createHash('sha256').update(root).digest('hex'))
  expect(stdout).toContain('  certificate authority  https://fulcio.example.internal, since 2025-09-23')
  expect((await readdir(cwd)).toSorted()).toEqual(['root.json', 'trusted_root.json'])

  repository.asked.length = 0
  const again = await residentAirgap(command, { cwd })
  expect(again).toMatchObject({ code: 7, stderr: expect.stringMatching(/already exists/) as string })
  expect(repository.asked).toEqual([])
  const json = await residentAirgap([...command, '--force', '--json'], { cwd })
  expectResult('trust-root', json.json())
  expect(json.json()).toMatchObject({ file: 'trusted_root.json', size: root.length, mirror: repository.url })
})
