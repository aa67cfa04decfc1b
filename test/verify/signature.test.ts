import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { singleManifest } from '../../fixtures/images/index.ts'
import { CHECKSUMS, RAW_SIGNATURE, SIGSTORE_SIGNATURE } from '../../src/bundle/names.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parsePublicKey } from '../../src/trust/keys.ts'
import { signatureOf } from '../../src/trust/signature.ts'
import { parseDetachedSignature } from '../../src/trust/detached.ts'
import { verifyBundle } from '../../src/verify/content.ts'
import {
  archiveOf,
  draftOf,
  entriesOf,
  newSigner,
  signedBy,
  signer,
  temporaryBundle,
  type Entry,
} from '../support/build-bundle.ts'
import { expectRefusal, problemsOf, TRUST } from './check-bundle.ts'

const stranger = newSigner('stranger.pub')

async function entries(tag = '1.0', key = signer): Promise<Entry[]> {
  return entriesOf(await draftOf([{ source: `example.test/app:${tag}`, built: await singleManifest() }]), key)
}

function contentOf(list: readonly Entry[], name: string): Buffer {
  return Buffer.from(list.find((one) => one.name === name)?.content ?? '')
}

function withContent(list: readonly Entry[], name: string, content: Uint8Array | string): Entry[] {
  return list.map((one) => (one.name === name ? { name, content: Buffer.from(content) } : one))
}

const without = (list: readonly Entry[], ...names: string[]): Entry[] =>
  list.filter(({ name }) => !names.includes(name))

describe('a signature', () => {
  test('by another key', async () => {
    const problems = await expectRefusal(
      archiveOf(await entries('1.0', stranger)),
      SIGSTORE_SIGNATURE,
      'it was made with another key',
    )
    expect(problems).toHaveLength(1)
  })

  test('by any one of the keys given is enough, and the result names the key', async () => {
    const path = await temporaryBundle(archiveOf(await entries()))
    const opened = await verifyBundle(path, { ...TRUST, keys: [stranger.publicKey, signer.publicKey] })
    await opened.reader.close()
    expect(opened.problems).toEqual([])
    expect(opened.authentication).toMatchObject({
      state: 'signed',
      signatures: [{ name: SIGSTORE_SIGNATURE, by: { kind: 'key', key: { source: 'test.pub' } } }],
    })
  })

  test('stripped', async () => {
    const bytes = archiveOf(without(await entries(), SIGSTORE_SIGNATURE, RAW_SIGNATURE))
    await expectRefusal(
      bytes,
      SIGSTORE_SIGNATURE,
      'the bundle is not signed, but a signature by your key is required',
    )
    expect(await problemsOf(bytes, { keys: [], unauthenticated: true })).toEqual([])
  })

  test('in one form alone', async () => {
    const all = await entries()
    await expectRefusal(archiveOf(without(all, RAW_SIGNATURE)), RAW_SIGNATURE, 'it is missing')
    await expectRefusal(
      archiveOf(without(all, SIGSTORE_SIGNATURE)),
      SIGSTORE_SIGNATURE,
      'the bundle is not signed',
    )
    const detached = [{ file: 'beside.sig', signature: { der: contentOf(all, RAW_SIGNATURE) } }]
    await expectRefusal(archiveOf(without(all, SIGSTORE_SIGNATURE)), RAW_SIGNATURE, 'it is there without', {
      signatures: detached,
    })
    await expectRefusal(archiveOf(without(all, SIGSTORE_SIGNATURE)), RAW_SIGNATURE, 'it is there without', {
      keys: [],
      unauthenticated: true,
    })
  })

  test('in two forms that are two signatures, both good', async () => {
    const all = await entries()
    const again = signer.signNow(contentOf(all, CHECKSUMS))
    await expectRefusal(
      archiveOf(withContent(all, RAW_SIGNATURE, again)),
      SIGSTORE_SIGNATURE,
      'are not the same signature',
    )
  })

  test('[attack: signature-of-another-bundle] of another bundle of the same signer', async () => {
    const [all, other] = [await entries('1.0'), await entries('2.0')]
    let mixed = withContent(all, SIGSTORE_SIGNATURE, contentOf(other, SIGSTORE_SIGNATURE))
    mixed = withContent(mixed, RAW_SIGNATURE, contentOf(other, RAW_SIGNATURE))
    await expectRefusal(archiveOf(mixed), SIGSTORE_SIGNATURE, 'it was made over other content')
  })

  test('in the other of its two spellings', async () => {
    const all = await entries()
    const json = contentOf(all, SIGSTORE_SIGNATURE).toString()
    const low = contentOf(all, RAW_SIGNATURE)
    // Signatures of the same bytes until one has the higher s: half of them.
    let high = low
    for (let i = 0; i < 100 && high.equals(spelled(high)); i++)
      high = signer.signNow(contentOf(all, CHECKSUMS))
    expect(high.equals(spelled(high))).toBe(false)
    const changed = json.replace(low.toString('base64'), high.toString('base64'))
    const bytes = archiveOf(withContent(withContent(all, SIGSTORE_SIGNATURE, changed), RAW_SIGNATURE, high))
    await expectRefusal(bytes, SIGSTORE_SIGNATURE, 'it has been altered')

    function spelled(raw: Buffer): Buffer {
      return signatureOf(contentOf(all, CHECKSUMS), raw, signer.publicKey)?.der ?? Buffer.alloc(0)
    }
  })

  test('by a certificate', async () => {
    const certificate = await readFile(
      new URL('../../fixtures/trust/certificate.sigstore.json', import.meta.url),
    )
    const all = without(withContent(await entries(), SIGSTORE_SIGNATURE, certificate), RAW_SIGNATURE)
    await expectRefusal(
      archiveOf(all),
      SIGSTORE_SIGNATURE,
      'it was made with a certificate (keyless signing)',
    )
  })

  test('[duty: caller-trust] by a key whose SubjectPublicKeyInfo a stranger put into the bundle', async () => {
    const all = await entries('1.0', stranger)
    const json = JSON.parse(contentOf(all, SIGSTORE_SIGNATURE).toString()) as { verificationMaterial: object }
    const claims = { ...json, verificationMaterial: { publicKey: { hint: signer.publicKey.hint } } }
    await expectRefusal(
      archiveOf(withContent(all, SIGSTORE_SIGNATURE, JSON.stringify(claims))),
      SIGSTORE_SIGNATURE,
      'forged or damaged',
    )
  })

  test('[attack: key-swapped] by a stranger over the right list, with our hint around it', async () => {
    // All of it is as the writer would spell it, but for the key: a good signature, over this very list.
    for (const kind of [stranger, newSigner('another.pub')]) {
      const all = await entries('1.0', kind)
      const own = contentOf(all, SIGSTORE_SIGNATURE).toString()
      const hinted = own.replace(kind.publicKey.hint, signer.publicKey.hint)
      expect(hinted).not.toBe(own)
      const bytes = archiveOf(withContent(all, SIGSTORE_SIGNATURE, hinted))
      const problems = await expectRefusal(bytes, SIGSTORE_SIGNATURE, 'it is forged or damaged')
      expect(problems).toHaveLength(1)
      // Nor does a good signature beside it mend that, where it is not by a key that is trusted.
      const signatures = [{ file: 'beside', signature: { der: contentOf(all, RAW_SIGNATURE) } }]
      await expectRefusal(bytes, 'beside', 'it was made with none of the keys given', { signatures })
    }
  })

  test('of no sense', async () => {
    const all = await entries()
    for (const content of [
      '',
      '{}',
      'null',
      '[]',
      '\0',
      '{"mediaType":',
      '['.repeat(100_000),
      `"${'a'.repeat(900_000)}"`,
    ]) {
      await expectRefusal(
        archiveOf(withContent(all, SIGSTORE_SIGNATURE, content)),
        SIGSTORE_SIGNATURE,
        'it is not a usable Sigstore bundle',
      )
    }
    await expectRefusal(
      archiveOf(withContent(all, RAW_SIGNATURE, '')),
      SIGSTORE_SIGNATURE,
      'the raw signature is empty',
    )
    await expectRefusal(
      archiveOf(withContent(all, RAW_SIGNATURE, 'x')),
      SIGSTORE_SIGNATURE,
      'are not the same signature',
    )
  })
})

type Json = Record<string, Record<string, unknown>>

describe('the signature’s entry says nothing that is not checked', () => {
  const changes: [what: string, change: (json: Json, text: string) => string][] = [
    [
      'another hint',
      (json) => JSON.stringify({ ...json, verificationMaterial: { publicKey: { hint: 'c29tZWJvZHk=' } } }),
    ],
    ['no hint', (json) => JSON.stringify({ ...json, verificationMaterial: { publicKey: {} } })],
    [
      'log entries',
      (json) =>
        JSON.stringify({ ...json, verificationMaterial: { ...json.verificationMaterial, tlogEntries: [] } }),
    ],
    [
      'timestamps',
      (json) =>
        JSON.stringify({
          ...json,
          verificationMaterial: { ...json.verificationMaterial, timestampVerificationData: {} },
        }),
    ],
    ['indent', (json) => JSON.stringify(json, null, 2)],
    ['no newline', (_, text) => text.trimEnd()],
    ['white space behind', (_, text) => `${text}   `],
    [
      'another order of keys',
      (json) => JSON.stringify(Object.fromEntries(Object.entries(json).toReversed())),
    ],
    [
      'an older media type',
      (_, text) =>
        text.replace(
          'application/vnd.dev.sigstore.bundle.v0.3+json',
          'application/vnd.dev.sigstore.bundle+json;version=0.3',
        ),
    ],
    ['an escape', (_, text) => text.replace('SHA2_256', '\\u0053HA2_256')],
  ]
  test.each(changes)('%s', async (_, change) => {
    const all = await entries()
    const text = contentOf(all, SIGSTORE_SIGNATURE).toString()
    let changed = change(JSON.parse(text) as Json, text)
    if (!/\s$/.test(changed) && !changed.startsWith(text.trimEnd())) changed += '\n'
    expect(changed).not.toBe(text)
    await expectRefusal(
      archiveOf(withContent(all, SIGSTORE_SIGNATURE, changed)),
      SIGSTORE_SIGNATURE,
      /altered|not a usable/,
    )
  })
})

describe('a signature by another kind of key', () => {
  const KINDS: [name: string, hash: string, pair: { privateKey: KeyObject; publicKey: KeyObject }][] = [
    ['P-384 over SHA-256', 'sha256', generateKeyPairSync('ec', { namedCurve: 'P-384' })],
    ['P-384 over SHA-384', 'sha384', generateKeyPairSync('ec', { namedCurve: 'P-384' })],
    ['RSA', 'sha256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ]

  test.each(KINDS)('%s: with the key, and without looking at it', async (_, hash, pair) => {
    const pem = Buffer.from(pair.publicKey.export({ type: 'spki', format: 'pem' }))
    const publicKey = parsePublicKey(pem, 'kind.pub')
    const signNow = (bytes: Uint8Array): Buffer => sign(hash, bytes, pair.privateKey)
    const all = await entries('1.0', { ...signer, publicKey, signNow })
    const trust = { keys: [publicKey] }
    expect(await problemsOf(archiveOf(all), trust)).toEqual([])
    expect(await problemsOf(archiveOf(all), { keys: [], unauthenticated: true })).toEqual([])
    const altered = withContent(all, SIGSTORE_SIGNATURE, `${contentOf(all, SIGSTORE_SIGNATURE).toString()} `)
    await expectRefusal(archiveOf(altered), SIGSTORE_SIGNATURE, 'it has been altered', trust)
    const other = await entries('2.0', { ...signer, publicKey, signNow })
    let mixed = withContent(all, SIGSTORE_SIGNATURE, contentOf(other, SIGSTORE_SIGNATURE))
    mixed = withContent(mixed, RAW_SIGNATURE, contentOf(other, RAW_SIGNATURE))
    await expectRefusal(archiveOf(mixed), SIGSTORE_SIGNATURE, 'it is not over this SHA256SUMS', {
      keys: [],
      unauthenticated: true,
    })
    await expectRefusal(archiveOf(mixed), SIGSTORE_SIGNATURE, 'it was made over other content', trust)
  })
})

describe('a detached signature', () => {
  test('[attack: signature-of-another-bundle] of another bundle of the same signer', async () => {
    const other = contentOf(await entries('2.0'), CHECKSUMS)
    const all = await entries('1.0', stranger)
    const { bundleJson, der } = signedBy(signer, other)
    for (const bundle of [all, without(all, SIGSTORE_SIGNATURE, RAW_SIGNATURE)]) {
      for (const [bytes, words] of [
        [bundleJson, 'it was made over other content'],
        [der, 'it was made with none of the keys given or over other bytes'],
      ] as const) {
        const signatures = [{ file: 'beside', signature: parseDetachedSignature(bytes, 'beside') }]
        await expectRefusal(archiveOf(bundle), 'beside', words, { signatures })
      }
    }
  })

  test('makes an unsigned bundle a signed one, and is named', async () => {
    const all = await entries()
    const unsigned = archiveOf(without(all, SIGSTORE_SIGNATURE, RAW_SIGNATURE))
    const { bundleJson, der } = signedBy(signer, contentOf(all, CHECKSUMS))
    for (const bytes of [bundleJson, der]) {
      const signatures = [{ file: 'beside.sig', signature: parseDetachedSignature(bytes, 'beside.sig') }]
      expect(await problemsOf(unsigned, { signatures })).toEqual([])
    }
  })

  test('of other content is refused by its file’s name', async () => {
    const other = contentOf(await entries('2.0'), CHECKSUMS)
    const unsigned = archiveOf(without(await entries(), SIGSTORE_SIGNATURE, RAW_SIGNATURE))
    const signatures = [
      { file: 'beside.sig', signature: parseDetachedSignature(signedBy(signer, other).der, 'beside.sig') },
    ]
    await expectRefusal(
      unsigned,
      'beside.sig',
      'it was made with none of the keys given or over other bytes',
      { signatures },
    )
  })
})

test('[duty: signature-first] where the signature fails, nothing else is read and nothing is said of the content', async () => {
  const all = await entries('1.0', stranger)
  const path = await temporaryBundle(archiveOf(withContent(all, 'airgap.json', 'not JSON')))
  const opened = await verifyBundle(path, TRUST)
  await opened.reader.close()
  expect(opened.problems.map(({ entry }) => entry)).toEqual([SIGSTORE_SIGNATURE])
  expect(opened).toMatchObject({ authentication: { state: 'failed' }, description: undefined, images: [] })
  expect(opened.entries.size).toBe(0)
  expect(opened.bundleDigest).toBe(digestOf(contentOf(all, CHECKSUMS)))
})
