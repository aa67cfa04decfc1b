import { beforeAll, describe, expect, test } from 'vitest'
import { singleManifest } from '../../fixtures/images/index.ts'
import { wordsOf } from '../../src/cli/words/hints.ts'
import { CHECKSUMS, RAW_SIGNATURE, SIGSTORE_SIGNATURE } from '../../src/bundle/names.ts'
import { verificationError, verifyBundle } from '../../src/verify/content.ts'
import type { Trust } from '../../src/verify/authenticate.ts'
import { parseDetachedSignature } from '../../src/trust/detached.ts'
import { identityFrom } from '../../src/trust/identity/identity.ts'
import { parseTrustedRoot } from '../../src/trust/identity/trusted-root.ts'
import { spellCertificateBundle } from '../../src/trust/keyless/spelling.ts'
import {
  archiveOf,
  draftOf,
  entriesOf,
  entry,
  signer,
  temporaryBundle,
  type Draft,
  type Entry,
} from '../support/build-bundle.ts'
import { certifiedEntries, unsignedEntries } from '../trust/certified-bundle.ts'
import { IDENTITY, ISSUER, makeSigstore, type SignOptions, type Sigstore } from '../trust/sigstore.ts'
import { expectRefusal, problemsOf, TRUST } from './check-bundle.ts'

let sigstore: Sigstore
let stranger: Sigstore
let trust: Partial<Trust>
let draft: Draft

beforeAll(async () => {
  sigstore = await makeSigstore()
  stranger = await makeSigstore()
  draft = await draftOf([{ source: 'example.test/app:1.0', built: await singleManifest() }])
  trust = {
    keys: [],
    identities: [identityFrom({ identity: IDENTITY, issuer: ISSUER })],
    root: parseTrustedRoot(sigstore.trustedRoot, 'trusted_root.json'),
  }
})

const signedBundle = (
  sign: (checksums: Buffer) => Promise<Uint8Array>,
  spell?: (json: Uint8Array) => Uint8Array,
): Promise<Entry[]> => certifiedEntries(draft, sign, spell)

const byCertificate = (options: SignOptions = {}, by: Sigstore = sigstore): Promise<Entry[]> =>
  signedBundle((checksums) => by.sign(checksums, options))

const unsigned = (): Entry[] => unsignedEntries(draft)

describe('a bundle that is signed with a certificate', () => {
  test('is good for whom it names, and the result says who that is', async () => {
    const path = await temporaryBundle(archiveOf(await byCertificate({ withTimestamp: true })))
    const opened = await verifyBundle(path, { ...TRUST, ...trust })
    await opened.reader.close()
    expect(opened.problems).toEqual([])
    expect(opened.authentication).toMatchObject({
      state: 'signed',
      signatures: [
        { name: SIGSTORE_SIGNATURE, form: 'sigstore-bundle', by: { identity: IDENTITY, issuer: ISSUER } },
      ],
    })
  })

  test('is good where a key is given, too, and so is one by that key', async () => {
    const either = { ...trust, keys: [signer.publicKey] }
    expect(await problemsOf(archiveOf(await byCertificate()), either)).toEqual([])
    expect(await problemsOf(archiveOf(entriesOf(draft)), either)).toEqual([])
  })

  test('counts beside a detached signature by a key: both are told', async () => {
    const all = await byCertificate()
    const der = entriesOf(draft).find(({ name }) => name === RAW_SIGNATURE)?.content ?? Buffer.alloc(0)
    const signatures = [{ file: 'beside.sig', signature: parseDetachedSignature(der, 'beside.sig') }]
    const opened = await verifyBundle(await temporaryBundle(archiveOf(all)), {
      ...TRUST,
      ...trust,
      keys: [signer.publicKey],
      signatures,
    })
    await opened.reader.close()
    expect(opened.authentication).toMatchObject({
      signatures: [
        { name: SIGSTORE_SIGNATURE, by: { kind: 'identity' } },
        { name: 'beside.sig', by: { kind: 'key' } },
      ],
    })
  })

  test('is looked at without knowing anybody: its signature is over this list, or it has been altered', async () => {
    const unauthenticated = { keys: [], unauthenticated: true }
    expect(await problemsOf(archiveOf(await byCertificate()), unauthenticated)).toEqual([])
    const other = await signedBundle(() => sigstore.sign(Buffer.from('other')))
    await expectRefusal(
      archiveOf(other),
      SIGSTORE_SIGNATURE,
      `it is not over this ${CHECKSUMS}`,
      unauthenticated,
    )
    const envelope = await signedBundle(() => sigstore.attest({}))
    await expectRefusal(archiveOf(envelope), SIGSTORE_SIGNATURE, 'it is not over this', unauthenticated)
    const loose = await signedBundle(
      (checksums) => sigstore.sign(checksums),
      (json) => json,
    )
    await expectRefusal(
      archiveOf(loose),
      SIGSTORE_SIGNATURE,
      'not in the exact form that airgap writes',
      unauthenticated,
    )
  })
})

describe('a detached signature by a certificate', () => {
  test('makes an unsigned bundle a signed one, in cosign’s new form and in its old', async () => {
    const checksums = Buffer.from(unsigned()[0]?.content ?? '')
    const { signature, certificate, bundle } = await sigstore.signLayer(checksums)
    const old = JSON.stringify({
      base64Signature: signature,
      cert: Buffer.from(certificate).toString('base64'),
      rekorBundle: JSON.parse(bundle) as unknown,
    })
    for (const bytes of [
      await sigstore.sign(checksums),
      await sigstore.sign(checksums, { v01: true }),
      Buffer.from(old),
    ]) {
      const signatures = [{ file: 'beside.json', signature: parseDetachedSignature(bytes, 'beside.json') }]
      expect(await problemsOf(archiveOf(unsigned()), { ...trust, signatures })).toEqual([])
    }
  })
})

describe('is refused', () => {
  test('[attack: certificate-offered-to-key] where a key is wanted, whoever the certificate names', async () => {
    const bytes = archiveOf(await byCertificate())
    const problems = await expectRefusal(
      bytes,
      SIGSTORE_SIGNATURE,
      'it was made with a certificate (keyless signing), but a signature by a key is required',
      {
        keys: [signer.publicKey],
      },
    )
    expect(problems).toHaveLength(1)
    expect(await hintOf(bytes, { keys: [signer.publicKey] })).toContain('--certificate-identity')
  })

  test('[attack: certificate-offered-to-key] by a certificate that is for that very key', async () => {
    const all = await byCertificate({ certificate: { publicKey: signer.publicKey.keyObject } })
    await expectRefusal(archiveOf(all), SIGSTORE_SIGNATURE, 'it was made with a certificate', {
      keys: [signer.publicKey],
    })
  })

  test('[attack: key-offered-to-identity] where a certificate is wanted', async () => {
    const bytes = archiveOf(entriesOf(draft))
    await expectRefusal(
      bytes,
      SIGSTORE_SIGNATURE,
      'it was made with a key, but a signature with a certificate is required',
      trust,
    )
    expect(await hintOf(bytes, trust)).toContain("check it with the signer's public key")
  })

  test('[attack: key-offered-to-identity] with the hint of a key made to look like the identity', async () => {
    const all = entriesOf(draft).map((one) => {
      if (one.name !== SIGSTORE_SIGNATURE) return one
      const json = JSON.parse(Buffer.from(one.content).toString()) as Record<string, unknown>
      return entry(
        one.name,
        JSON.stringify({ ...json, verificationMaterial: { publicKey: { hint: IDENTITY } } }),
      )
    })
    await expectRefusal(archiveOf(all), SIGSTORE_SIGNATURE, 'it was made with a key', trust)
  })

  test.each<[string, SignOptions]>([
    ['a dot as any letter', { identity: IDENTITY.replace('.', 'x') }],
    ['something behind', { identity: `${IDENTITY}/more` }],
    ['something in front', { identity: IDENTITY.replace('https://', 'https://x.') }],
    ['other letters', { identity: IDENTITY.toUpperCase() }],
  ])('[attack: look-alike-identity] under a name with %s', async (_, options) => {
    await expectRefusal(
      archiveOf(await byCertificate(options)),
      SIGSTORE_SIGNATURE,
      `it was made by ${options.identity} (issuer ${ISSUER}), not by ${IDENTITY} (issuer ${ISSUER})`,
      trust,
    )
  })

  test('[attack: look-alike-identity] vouched for by somebody else, in Cyrillic letters', async () => {
    await expectRefusal(
      archiveOf(await byCertificate({ issuer: ISSUER.replace('a', 'а') })),
      SIGSTORE_SIGNATURE,
      `it was made by ${IDENTITY}, as expected, but the issuer is https://\\u{430}ccounts.example.internal, not ${ISSUER}`,
      trust,
    )
  })

  test('[attack: look-alike-identity] with a second name', async () => {
    const names = [{ uri: IDENTITY }, { uri: 'https://somebody.example' }]
    await expectRefusal(
      archiveOf(await byCertificate({ certificate: { names } })),
      SIGSTORE_SIGNATURE,
      'its certificate has 2 names',
      trust,
    )
  })

  test('[attack: look-alike-identity] with letters in the issuer that lose their highest bit', async () => {
    const issuer = Buffer.from(ISSUER.replace('a', '\xe1'), 'latin1')
    await expectRefusal(
      archiveOf(await byCertificate({ certificate: { issuer } })),
      SIGSTORE_SIGNATURE,
      'the issuer in its certificate contains invalid characters',
      trust,
    )
  })

  test('[attack: log-entry-of-another-artifact]', async () => {
    const all = await byCertificate({ entryOf: Buffer.from('another list') })
    await expectRefusal(
      archiveOf(all),
      SIGSTORE_SIGNATURE,
      'its log entry is for another signature or another artifact',
      trust,
    )
  })

  test('with the signature of another bundle by the same person', async () => {
    const all = await signedBundle(() => sigstore.sign(Buffer.from('another list')))
    await expectRefusal(archiveOf(all), SIGSTORE_SIGNATURE, 'it was made over other content', trust)
  })

  test('[attack: expired-certificate-without-timestamp]', async () => {
    await expectRefusal(
      archiveOf(await byCertificate({ withoutPromise: true })),
      SIGSTORE_SIGNATURE,
      'nothing proves when it was made',
      trust,
    )
    await expectRefusal(
      archiveOf(await byCertificate({ minutesLater: 11 })),
      SIGSTORE_SIGNATURE,
      'the certificate had expired at the time of signing',
      trust,
    )
  })

  test('[attack: trusted-root-inside] by strangers who bring their authority and their root along', async () => {
    const all = await signedBundle(
      (checksums) =>
        stranger.sign(checksums, {
          v01: true,
          change: ({ verificationMaterial: { content } }) => {
            if (content.$case !== 'x509CertificateChain') return
            content.x509CertificateChain.certificates.push({ rawBytes: stranger.certificateAuthority })
          },
        }),
      (json) => json,
    )
    await expectRefusal(
      archiveOf(all),
      SIGSTORE_SIGNATURE,
      'is not in the trusted root (trusted_root.json',
      trust,
    )
    const withRoot = [...all, entry('trusted_root.json', stranger.trustedRoot)]
    await expectRefusal(
      archiveOf(withRoot),
      SIGSTORE_SIGNATURE,
      'is not in the trusted root (trusted_root.json',
      trust,
    )
    const good = [...(await byCertificate()), entry('trusted_root.json', sigstore.trustedRoot)]
    await expectRefusal(archiveOf(good), 'trusted_root.json', 'it is not listed in SHA256SUMS', trust)
  })

  test('[attack: unknown-media-type]', async () => {
    const all = await signedBundle(
      (checksums) => sigstore.sign(checksums),
      (json) => Buffer.from(json.toString().replace('bundle.v0.3+json', 'bundle.v0.9+json')),
    )
    await expectRefusal(
      archiveOf(all),
      SIGSTORE_SIGNATURE,
      'its media type is not that of a known Sigstore bundle',
      trust,
    )
  })

  test('with an attestation in the place of a signature', async () => {
    const all = await signedBundle(() => sigstore.attest({ _type: 'https://in-toto.io/Statement/v1' }))
    await expectRefusal(archiveOf(all), SIGSTORE_SIGNATURE, 'it holds an attestation (DSSE envelope)', trust)
  })

  test('without a signature, in words that name what is missing', async () => {
    await expectRefusal(
      archiveOf(unsigned()),
      SIGSTORE_SIGNATURE,
      'but a signature by the identity given is required',
      trust,
    )
    await expectRefusal(
      archiveOf(unsigned()),
      SIGSTORE_SIGNATURE,
      'by your key or the identity given is required',
      {
        ...trust,
        keys: [signer.publicKey],
      },
    )
  })

  test('with a raw signature besides, which one by a certificate does not have', async () => {
    const [sums, signature, ...content] = await byCertificate()
    if (!sums || !signature) throw new Error('no entries')
    const raw = entry(RAW_SIGNATURE, 'x')
    await expectRefusal(
      archiveOf([sums, signature, raw, ...content]),
      RAW_SIGNATURE,
      'a signature by a certificate has only SHA256SUMS.sigstore.json',
      trust,
    )
  })

  test('spelled otherwise than it is written, white space included', async () => {
    const spellings: ((json: Uint8Array) => Uint8Array)[] = [
      (json) => json,
      (json) => {
        const spelled = spellCertificateBundle(json)
        spelled.writeUInt8(0x0a, spelled.length - 2)
        return spelled
      },
      (json) => Buffer.concat([spellCertificateBundle(json), Buffer.from(' ')]),
      (json) => spellCertificateBundle(json).subarray(1 - 2),
      (json) => Buffer.from(JSON.stringify(JSON.parse(Buffer.from(json).toString()), null, 1)),
      (json) => {
        const spelled = spellCertificateBundle(json).toString()
        const escaped = spelled.replace('SHA2_256', '\\u0053HA2_256')
        return Buffer.from(`${escaped.trimEnd().padEnd(spelled.length - 1)}\n`)
      },
    ]
    for (const spell of spellings) {
      const all = await signedBundle((checksums) => sigstore.sign(checksums), spell)
      await expectRefusal(archiveOf(all), SIGSTORE_SIGNATURE, /altered|not a usable/, trust)
    }
  })
})

async function hintOf(bytes: Uint8Array, more: Partial<Trust>): Promise<string | undefined> {
  const path = await temporaryBundle(bytes)
  const opened = await verifyBundle(path, { ...TRUST, ...more })
  await opened.reader.close()
  return wordsOf(verificationError(path, opened).hints)
}
