import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { AirgapError } from '../../src/errors.ts'
import { parseDetachedSignature } from '../../src/trust/detached.ts'
import { readPublicKey } from '../../src/trust/keys.ts'
import { verifySignature } from '../../src/trust/verify.ts'
import { errorOf, fixture, fixturePath } from './helpers.ts'

let bundle: Buffer
let der: Buffer
let base64: string

beforeAll(async () => {
  bundle = await fixture('payload.sigstore.json')
  base64 = (await fixture('payload.sig')).toString().trim()
  der = Buffer.from(base64, 'base64')
})

async function verdictOf(file: string | Uint8Array) {
  return verifySignature({
    payload: await fixture('payload.txt'),
    signature: parseDetachedSignature(Buffer.from(file), 'file'),
    keys: [await readPublicKey(fixturePath('cosign.pub'))],
  })
}

describe('parseDetachedSignature', () => {
  it('reads a Sigstore bundle of cosign 3', async () => {
    expect(parseDetachedSignature(bundle, 'f')).toEqual({ bundleJson: bundle })
    expect(await verdictOf(bundle)).toMatchObject({ ok: true, form: 'sigstore-bundle' })
  })

  it('reads raw DER of OpenSSL', async () => {
    expect(parseDetachedSignature(der, 'f')).toEqual({ der })
    expect(await verdictOf(der)).toMatchObject({ ok: true, form: 'raw' })
  })

  it.each([
    ['one line', (text: string) => text],
    ['a line end', (text: string) => `${text}\n`],
    ['Windows line ends', (text: string) => `${text.slice(0, 64)}\r\n${text.slice(64)}\r\n`],
    ['a byte order mark', (text: string) => `\ufeff${text}`],
  ])('reads base64 with %s', async (_, form) => {
    expect(await verdictOf(form(base64))).toMatchObject({ ok: true, form: 'raw' })
  })

  it.each([
    ['without a certificate', {}],
    ['with an empty one', { cert: '' }],
    ['with none', { cert: null }],
    ['with a log entry', { rekorBundle: { SignedEntryTimestamp: 'x', Payload: {} } }],
  ])("reads cosign 2's JSON %s", async (_, more) => {
    const file = JSON.stringify({ base64Signature: base64, ...more })
    expect(await verdictOf(file)).toMatchObject({ ok: true, form: 'raw' })
  })

  it.each([
    [{ cert: 'LS0tLS1CRUdJTg==' }, /certificate/],
    [{ Cert: 'LS0tLS1CRUdJTg==' }, /differs only in case/],
    [{ cert: ['LS0tLS1CRUdJTg=='] }, /cert/],
  ])("does not take cosign 2's JSON with %j", async (more, message) => {
    const file = Buffer.from(JSON.stringify({ base64Signature: base64, ...more }))
    const error = await errorOf(() => parseDetachedSignature(file, 'SHA256SUMS.bundle'))
    expect(error.code).toBe('INVALID_CONTENT')
    expect(error.message).toMatch(message)
    expect(error.message).toContain('SHA256SUMS.bundle')
  })

  it.each([
    ['nothing', ''],
    ['white space', ' \n'],
    ['text', 'hello'],
    ['base64 of something else', 'aGVsbG8='],
    ['other JSON', '{"a":1}'],
    ['an array', '[]'],
    ['broken JSON', '{"mediaType":'],
    ['a key given twice', '{"mediaType":"a","mediaType":"b"}'],
    ['a number for a signature', '{"base64Signature":1}'],
    ['a key', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n'],
    ['DER with something after it', Buffer.from('300330010000', 'hex')],
    ['DER cut short', Buffer.from('30440220', 'hex')],
    ['a megabyte and more', Buffer.alloc(1024 * 1024 + 1, 'A')],
    ['a long base64', Buffer.alloc(8 * 1024, 'M')],
    ['a signature with one base64 digit too many', 'MAYCAQECAQE=='],
  ])('refuses %s, naming the file', async (_, contents) => {
    const error = await errorOf(() => parseDetachedSignature(Buffer.from(contents), 'x.sig'))
    expect(error.code).toBe('INVALID_CONTENT')
    expect(error.message).toContain('x.sig')
  })

  it('never fails in any other way', () => {
    const text = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.json().map((json) => Buffer.from(json)),
    )
    fc.assert(
      fc.property(text, (bytes) => {
        try {
          parseDetachedSignature(bytes, 'f')
        } catch (error) {
          expect(error).toBeInstanceOf(AirgapError)
        }
      }),
      { numRuns: 500 },
    )
  })
})
