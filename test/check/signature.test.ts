import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { singleManifest } from '../../fixtures/images/index.ts'
import { CHECKSUMS, RAW_SIGNATURE, SIGSTORE_SIGNATURE } from '../../src/bundle/names.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parseDetachedSignature } from '../../src/trust/detached.ts'
import { signBytes } from '../../src/trust/signature.ts'
import { verifyBundle } from '../../src/transfer/check/verify.ts'
import {
  archiveOf,
  draftOf,
  entriesOf,
  newSigner,
  signer,
  temporaryBundle,
  type Entry,
} from '../bundle/build-bundle.ts'
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
      'the bundle is not signed, and a signature by your key is required',
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
    const again = signer.sign(contentOf(all, CHECKSUMS))
    await expectRefusal(
      archiveOf(withContent(all, RAW_SIGNATURE, again)),
      SIGSTORE_SIGNATURE,
      'are not the same signature',
    )
  })

  test('of another bundle of the same signer', async () => {
    const [all, other] = [await entries('1.0'), await entries('2.0')]
    let mixed = withContent(all, SIGSTORE_SIGNATURE, contentOf(other, SIGSTORE_SIGNATURE))
    mixed = withContent(mixed, RAW_SIGNATURE, contentOf(other, RAW_SIGNATURE))
    await expectRefusal(archiveOf(mixed), SIGSTORE_SIGNATURE, 'it was made over other content')
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

describe('a detached signature', () => {
  test('makes an unsigned bundle a signed one, and is named', async () => {
    const all = await entries()
    const unsigned = archiveOf(without(all, SIGSTORE_SIGNATURE, RAW_SIGNATURE))
    const { bundleJson, der } = signBytes(contentOf(all, CHECKSUMS), signer)
    for (const bytes of [bundleJson, der]) {
      const signatures = [{ file: 'beside.sig', signature: parseDetachedSignature(bytes, 'beside.sig') }]
      expect(await problemsOf(unsigned, { signatures })).toEqual([])
    }
  })

  test('of other content is refused by its file’s name', async () => {
    const other = contentOf(await entries('2.0'), CHECKSUMS)
    const unsigned = archiveOf(without(await entries(), SIGSTORE_SIGNATURE, RAW_SIGNATURE))
    const signatures = [
      { file: 'beside.sig', signature: parseDetachedSignature(signBytes(other, signer).der, 'beside.sig') },
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
