import { createHash, generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encryptKey, readEncryptedKey } from '../../src/trust/encrypted-key.ts'
import { readPrivateKey } from '../../src/trust/keys.ts'
import { toPem } from '../../src/trust/pem.ts'
import { errorOf, temporaryFile } from './helpers.ts'

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const PKCS8 = privateKey.export({ type: 'pkcs8', format: 'der' })
const PASSWORD = Buffer.from('fixture')
const SEALED = encryptKey(PKCS8, PASSWORD, 32768)

interface Envelope {
  kdf: { name: string; params: Record<string, unknown>; salt: string }
  cipher: { name: string; nonce: string }
  ciphertext: string
}

/** An envelope that opens, changed by `change`, or what that returns in a buffer. */
function changed(change: (envelope: Envelope) => unknown): Buffer {
  const envelope = JSON.parse(SEALED.toString()) as Envelope
  const result = change(envelope)
  return Buffer.from(result instanceof Buffer ? result : JSON.stringify(envelope))
}

describe('the encrypted key', () => {
  it('gives back any bytes under any password', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 80 }), (bytes, password) => {
        const envelope = readEncryptedKey(encryptKey(bytes, password, 32768), 'k')
        expect(envelope.open(password)).toEqual(Buffer.from(bytes))
      }),
      { numRuns: 6 },
    )
  })

  it('opens with no other password', async () => {
    const envelope = readEncryptedKey(encryptKey(PKCS8, PASSWORD, 32768), 'k.key')
    for (const other of ['', 'Fixture', 'fixture ', 'fixtur']) {
      const error = await errorOf(() => envelope.open(Buffer.from(other)))
      expect(error.code).toBe('PASSWORD')
      expect(error.message).toContain('k.key')
    }
  })

  it.each([
    [32768, 'ENCRYPTED COSIGN PRIVATE KEY'],
    [65536, 'ENCRYPTED SIGSTORE PRIVATE KEY'],
    [131072, 'ENCRYPTED SIGSTORE PRIVATE KEY'],
  ] as const)('reads N %i under %s', async (cost, label) => {
    const json = encryptKey(PKCS8, PASSWORD, cost)
    expect(JSON.parse(json.toString())).toMatchObject({
      kdf: { name: 'scrypt', params: { N: cost, r: 8, p: 1 } },
      cipher: { name: 'nacl/secretbox' },
    })
    const path = await temporaryFile(toPem(label, json))
    const key = await readPrivateKey(path, () => Promise.resolve('fixture'))
    const spki = publicKey.export({ type: 'spki', format: 'der' })
    expect(key.publicKey.fingerprint).toBe(createHash('sha256').update(spki).digest('hex'))
  })

  it('never uses a salt or nonce twice', () => {
    const made = [1, 2, 3].map(() => JSON.parse(encryptKey(PKCS8, PASSWORD, 32768).toString()) as Envelope)
    expect(new Set(made.map((each) => each.kdf.salt)).size).toBe(3)
    expect(new Set(made.map((each) => each.cipher.nonce)).size).toBe(3)
  })

  it.each<[string, RegExp, (envelope: Envelope) => unknown]>([
    ['N 1', /params\.N: only 32768, 65536, 131072/, (e) => (e.kdf.params['N'] = 1)],
    ['N 16384', /params\.N: only/, (e) => (e.kdf.params['N'] = 16384)],
    ['N 2^30', /params\.N: only/, (e) => (e.kdf.params['N'] = 2 ** 30)],
    ['N as a string', /params\.N: only/, (e) => (e.kdf.params['N'] = '65536')],
    ['r 16', /params\.r: only 8/, (e) => (e.kdf.params['r'] = 16)],
    ['p 1000', /params\.p: only 1/, (e) => (e.kdf.params['p'] = 1000)],
    ['no parameters', /params\.N/, (e) => (e.kdf.params = {})],
    ['another kdf', /kdf\.name: only scrypt/, (e) => (e.kdf.name = 'pbkdf2')],
    ['another cipher', /cipher\.name: only nacl/, (e) => (e.cipher.name = 'none')],
    ['a short nonce', /nonce: it is not 24 bytes long/, (e) => (e.cipher.nonce = 'AAAA')],
    ['a nonce that is no base64', /nonce: it is not base64/, (e) => (e.cipher.nonce = '*'.repeat(32))],
    ['no ciphertext', /ciphertext: it is not base64/, (e) => (e.ciphertext = '')],
    ['a key given twice', /occurs twice/, (e) => Buffer.from(`{"kdf":1,${JSON.stringify(e).slice(1)}`)],
    ['text', /not JSON/, () => Buffer.from('hello')],
    ['null', /the encrypted key in/, () => Buffer.from('null')],
    ['nothing', /not base64/, () => Buffer.from('')],
  ])('with %s is refused before a password is asked for', async (_, message, change) => {
    const json = changed(change)
    const path = await temporaryFile(toPem('ENCRYPTED SIGSTORE PRIVATE KEY', json))
    let asked = false
    const error = await errorOf(() =>
      readPrivateKey(path, () => {
        asked = true
        return Promise.resolve('fixture')
      }),
    )
    expect(error.code).toBe('INVALID_KEY')
    expect(error.message).toContain(path)
    expect(error.message).toMatch(message)
    expect(asked).toBe(false)
  })

  it('that was changed does not open', async () => {
    const flip = (text: string, at: number) => {
      const bytes = Buffer.from(text, 'base64')
      bytes[at] = bytes.readUInt8(at) ^ 1
      return bytes.toString('base64')
    }
    for (const json of [
      changed((e) => (e.ciphertext = flip(e.ciphertext, 0))),
      changed((e) => (e.ciphertext = flip(e.ciphertext, 40))),
      changed((e) => (e.ciphertext = 'AAAA')),
      changed((e) => (e.cipher.nonce = flip(e.cipher.nonce, 5))),
      changed((e) => (e.kdf.salt = flip(e.kdf.salt, 5))),
    ]) {
      const error = await errorOf(() => readEncryptedKey(json, 'k').open(PASSWORD))
      expect(error.code).toBe('PASSWORD')
    }
  })

  it('that opens to something else is no key', async () => {
    const path = await temporaryFile(
      toPem('ENCRYPTED SIGSTORE PRIVATE KEY', encryptKey(Buffer.from('not a key'), PASSWORD, 32768)),
    )
    const error = await errorOf(() => readPrivateKey(path, () => Promise.resolve('fixture')))
    expect(error.code).toBe('INVALID_KEY')
  })
})
