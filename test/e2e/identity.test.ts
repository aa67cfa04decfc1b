import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { singleManifest } from '../../fixtures/images/index.ts'
import { SIGSTORE_SIGNATURE } from '../../src/bundle/names.ts'
import { archiveOf, draftOf } from '../support/build-bundle.ts'
import { certifiedEntries, unsignedEntries } from '../trust/certified-bundle.ts'
import { IDENTITY, ISSUER, makeSigstore, type SignOptions, type Sigstore } from '../trust/sigstore.ts'
import { Airgap, describeEnd } from './parts/airgap.ts'
import { attempt, run, type Ended } from './parts/processes.ts'
import { scratch } from './parts/scratch.ts'
import { withParts } from './parts/tools.ts'

const WHO = ['--certificate-identity', IDENTITY, '--certificate-oidc-issuer', ISSUER]
const ROOT = ['--trusted-root', 'trusted_root.json']

withParts('signatures by certificates', ['cosign', 'tar'], () => {
  let folder: Awaited<ReturnType<typeof scratch>>
  let airgap: Airgap
  let sigstore: Sigstore
  let stranger: Sigstore
  let unsigned: ReturnType<typeof unsignedEntries>
  let checksums: Buffer

  beforeAll(async () => {
    folder = await scratch()
    airgap = new Airgap(folder.path)
    ;[sigstore, stranger] = await Promise.all([makeSigstore(), makeSigstore()])
    const draft = await draftOf([{ source: 'example.test/app:1.0', built: await singleManifest() }])
    unsigned = unsignedEntries(draft)
    checksums = Buffer.from(unsigned[0]?.content ?? '')
    await writeFile(join(folder.path, 'trusted_root.json'), sigstore.trustedRoot)
    await writeFile(join(folder.path, 'SHA256SUMS'), checksums)
    await writeFile(join(folder.path, 'unsigned.tar'), archiveOf(unsigned))
    const signed = await certifiedEntries(draft, (bytes) => sigstore.sign(bytes, { withTimestamp: true }))
    await writeFile(join(folder.path, 'signed.tar'), archiveOf(signed))
  })
  afterAll(() => folder?.[Symbol.asyncDispose]())

  const cosign = (file: string, more: readonly string[] = [], who = WHO): Promise<Ended> =>
    attempt('cosign', ['verify-blob', '--bundle', file, ...who, ...ROOT, ...more, 'SHA256SUMS'], {
      cwd: folder.path,
      env: { PATH: process.env['PATH'], HOME: folder.path },
    })

  test('what stands in a bundle is verified by cosign, blanks and all', async () => {
    await run('tar', ['-C', folder.path, '-xf', join(folder.path, 'signed.tar'), SIGSTORE_SIGNATURE])
    const theirs = await cosign(SIGSTORE_SIGNATURE)
    expect(theirs.code, describeEnd(theirs)).toBe(0)
    const ours = await airgap.attempt('verify', 'signed.tar', ...WHO, ...ROOT)
    expect(ours.code, describeEnd(ours)).toBe(0)
  })

  /** Whether cosign takes it, and whether airgap does, as a signature beside the bundle. */
  async function verdicts(
    json: Uint8Array,
    more: readonly string[] = [],
    who = WHO,
  ): Promise<{ cosign: boolean; airgap: boolean }> {
    await writeFile(join(folder.path, 'beside.json'), json)
    const theirs = await cosign('beside.json', more, who)
    const ours = await airgap.attempt('verify', 'unsigned.tar', '--signature', 'beside.json', ...who, ...ROOT)
    expect([0, 3, 7], describeEnd(ours)).toContain(ours.code)
    return { cosign: theirs.code === 0, airgap: ours.code === 0 }
  }

  const both = { cosign: true, airgap: true }
  const neither = { cosign: false, airgap: false }
  const onlyCosign = { cosign: true, airgap: false }

  test.each<[string, SignOptions, typeof both, ...string[]]>([
    ['with the log’s promise', {}, both],
    ['with a timestamp besides', { withTimestamp: true }, both],
    ['of a log of the second kind', { rekorV2: true, withTimestamp: true }, both],
    ['as bundle 0.1', { v01: true }, both],
    [
      'with a timestamp alone, which cosign has to be told',
      { withTimestamp: true, withoutPromise: true },
      both,
      '--use-signed-timestamps',
    ],
    ['without a time', { withoutPromise: true }, neither],
    ['without a log', { withoutLog: true, withTimestamp: true }, neither],
    ['after the certificate had expired', { minutesLater: 20 }, neither],
    ['before it was valid', { minutesLater: -5 }, neither],
    ['with the entry of another artifact', { entryOf: Buffer.from('another') }, neither],
    [
      'with an entry that names another certificate',
      { entryNames: { names: [{ uri: 'https://x.example' }] } },
      neither,
    ],
    ['without a certificate timestamp', { certificate: { withoutSct: true } }, neither],
    ['with a certificate for servers', { certificate: { uses: ['1.3.6.1.5.5.7.3.1'] } }, neither],
    [
      'with an issuer that is not UTF-8',
      { certificate: { issuer: Buffer.from(ISSUER.replace('a', '\xe1'), 'latin1') } },
      neither,
    ],
    ['under another name', { identity: `${IDENTITY}/more` }, neither],
    ['vouched for by another issuer', { issuer: `${ISSUER}.example` }, neither],
    [
      'with a critical extension that nobody knows',
      { certificate: { extensions: [{ oid: '1.2.3.4', critical: true, value: Buffer.from([5, 0]) }] } },
      neither,
    ],
    // Where we are the stricter: cosign takes the first of several names, and the certificate of an authority.
    [
      'with two names',
      { certificate: { names: [{ uri: IDENTITY }, { uri: 'https://x.example' }] } },
      onlyCosign,
    ],
    ['with the certificate of an authority', { certificate: { isAuthority: true } }, onlyCosign],
  ])('cosign and airgap on one %s', async (_, options, expected, ...more) => {
    expect(await verdicts(await sigstore.sign(checksums, options), more)).toEqual(expected)
  })

  test('cosign and airgap on an e-mail address and on a user name', async () => {
    for (const [name, names] of [
      ['me@example.internal', [{ email: 'me@example.internal' }]],
      ['me!example.internal', [{ username: 'me!example.internal' }]],
    ] as const) {
      const who = ['--certificate-identity', name, '--certificate-oidc-issuer', ISSUER]
      const json = await sigstore.sign(checksums, { certificate: { names } })
      expect(await verdicts(json, [], who), name).toEqual(both)
      expect(await verdicts(json), name).toEqual(neither)
    }
  })

  test('cosign and airgap on strangers, on other content, and on what is no such bundle', async () => {
    const good = (await sigstore.sign(checksums)).toString()
    expect(await verdicts(await stranger.sign(checksums))).toEqual(neither)
    expect(await verdicts(await sigstore.sign(Buffer.from('another')))).toEqual(neither)
    expect(await verdicts(Buffer.from(good.replace('bundle.v0.3+json', 'bundle.v0.9+json')))).toEqual(neither)
    expect(await verdicts(Buffer.from(good.replace('{', '{"trustedRoot":{},')))).toEqual(neither)
    expect(await verdicts(await sigstore.attest({ _type: 'https://in-toto.io/Statement/v1' }))).toEqual(
      neither,
    )
  })
})
