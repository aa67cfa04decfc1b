import { createPublicKey, generateKeyPairSync, sign, verify, type KeyObject } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { parseDetachedSignature } from '../../src/trust/detached.ts'
import { parsePublicKey, readPrivateKey, readPublicKey } from '../../src/trust/keys.ts'
import { toPem } from '../../src/trust/pem.ts'
import { placeholderSignature, signatureOf, signBytes } from '../../src/trust/signature.ts'
import { verifySignature } from '../../src/trust/verify.ts'
import { errorOf, fixture, fixturePath, noPassword, temporaryFile } from './helpers.ts'

const PAYLOAD = Buffer.from('what is signed')

/** RSA of further lengths takes seconds to make; fixtures have them. */
const KINDS = [
  ['ECDSA P-256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
  ['ECDSA P-384', generateKeyPairSync('ec', { namedCurve: 'P-384' })],
  ['RSA 2048', generateKeyPairSync('rsa', { modulusLength: 2048 })],
] as const

const spkiOf = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' })
const parse = (key: KeyObject) => parsePublicKey(Buffer.from(toPem('PUBLIC KEY', spkiOf(key))), 'k.pub')

describe.each(KINDS)('a key of the kind %s', (kind, { privateKey, publicKey }) => {
  it('signs over SHA-256, in both forms, and says what it is', async () => {
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    const key = await readPrivateKey(await temporaryFile(pem), noPassword)
    expect(key.publicKey.kind).toBe(kind)
    const { bundleJson, der } = await signBytes(PAYLOAD, key)
    expect(bundleJson.toString()).toContain('"algorithm":"SHA2_256"')
    expect(verify('sha256', PAYLOAD, publicKey, der)).toBe(true)
    for (const signature of [{ bundleJson }, { der }, { bundleJson, der }]) {
      expect(verifySignature({ payload: PAYLOAD, signature, keys: [parse(publicKey)] })).toMatchObject({
        ok: true,
      })
      expect(verifySignature({ payload: Buffer.from('x'), signature, keys: [parse(publicKey)] }).ok).toBe(
        false,
      )
    }
    expect(parseDetachedSignature(der, 'f')).toEqual({ der })
    expect(parseDetachedSignature(Buffer.from(der.toString('base64')), 'f')).toEqual({ der })
  })

  it('has signatures of one spelling', () => {
    const spellings = Array.from({ length: kind.startsWith('RSA') ? 1 : 30 }, () => {
      const raw = sign('sha256', PAYLOAD, privateKey)
      const signature = signatureOf(PAYLOAD, raw, parse(publicKey))!
      expect(signature.bundleJson.toString()).toContain(signature.der.toString('base64'))
      expect(signatureOf(PAYLOAD, signature.der, parse(publicKey))).toEqual(signature)
      return signature.der.equals(raw)
    })
    // Half of all signatures by ECDSA have the other one; thirty of one kind do not happen.
    expect(new Set(spellings).size).toBe(kind.startsWith('RSA') ? 1 : 2)
  })

  it('verifies nothing over SHA-512, and says what goes with it', () => {
    const signature = { der: sign('sha512', PAYLOAD, privateKey) }
    expect(verifySignature({ payload: PAYLOAD, signature, keys: [parse(publicKey)] }).ok).toBe(false)
    expect(signatureOf(PAYLOAD, signature.der, parse(publicKey))).toBeUndefined()
  })

  it('[duty: key-kinds] is read in one encoding alone', async () => {
    const der = spkiOf(publicKey)
    for (const other of [Buffer.concat([der, Buffer.from([0])]), der.subarray(0, -1)]) {
      const error = await errorOf(() => parsePublicKey(Buffer.from(toPem('PUBLIC KEY', other)), 'k.pub'))
      expect(error.code).toBe('INVALID_KEY')
    }
  })

  it('takes as much room in a plan as in the bundle', async () => {
    const room = (size: number): number => Math.ceil(size / 512)
    const key = parse(publicKey)
    const planned = placeholderSignature(PAYLOAD, key)
    const made = signatureOf(PAYLOAD, sign('sha256', PAYLOAD, privateKey), key)!
    expect(room(planned.bundleJson.length)).toBe(room(made.bundleJson.length))
    expect(room(planned.der.length)).toBe(room(made.der.length))
    expect(verifySignature({ payload: PAYLOAD, signature: planned, keys: [key] }).ok).toBe(false)
  })
})

describe('P-384', () => {
  const [, { privateKey, publicKey }] = KINDS[1]
  const bundleOver = (hash: string): string =>
    signatureOf(PAYLOAD, sign(hash, PAYLOAD, privateKey), parse(publicKey))!.bundleJson.toString()

  it('may have signed SHA-384, and its bundle says so', () => {
    const json = bundleOver('sha384')
    expect(json).toContain('"algorithm":"SHA2_384"')
    const verdict = (text: string) =>
      verifySignature({
        payload: PAYLOAD,
        signature: { bundleJson: Buffer.from(text) },
        keys: [parse(publicKey)],
      })
    expect(verdict(json).ok).toBe(true)
    // Relabelled, the digest is too long or too short; with the other bundle's digest, the signature is of another hash.
    const labels = ['"SHA2_384"', '"SHA2_256"'] as const
    expect(verdict(json.replace(labels[0], labels[1]))).toMatchObject({ ok: false, fault: 'malformed' })
    const other = bundleOver('sha256')
    expect(verdict(other.replace(labels[1], labels[0]))).toMatchObject({ ok: false, fault: 'malformed' })
    const signatureIn = (text: string): string => /"signature":"([^"]+)"/.exec(text)![1]!
    expect(verdict(json.replace(signatureIn(json), signatureIn(other)))).toMatchObject({
      ok: false,
      fault: 'invalid',
    })
  })

  it.each([KINDS[0], KINDS[2]])('alone: SHA-384 does not go with %s', (kind, pair) => {
    const raw = sign('sha384', PAYLOAD, pair.privateKey)
    expect(signatureOf(PAYLOAD, raw, parse(pair.publicKey))).toBeUndefined()
    const shape = JSON.parse(bundleOver('sha384')) as { messageSignature: { signature: string } }
    shape.messageSignature.signature = raw.toString('base64')
    const bundleJson = Buffer.from(JSON.stringify(shape))
    const verdict = verifySignature({
      payload: PAYLOAD,
      signature: { bundleJson },
      keys: [parse(pair.publicKey)],
    })
    expect(verdict).toMatchObject({ ok: false, fault: 'wrong-key' })
    expect(verdict).toHaveProperty('reason', `it was made over SHA-384, which does not go with ${kind}`)
  })
})

describe('signatures of other tools', () => {
  const FILES = [
    ['cosign-p384.pub', 'payload.p384.sigstore.json'],
    ['cosign-p384.pub', 'payload.p384.cosign-2.sigstore.json'],
    ['cosign-p384.pub', 'payload.p384.cosign-2.json'],
    ['cosign-p384.pub', 'payload.p384.cosign-2.sig'],
    ['cosign-rsa4096.pub', 'payload.rsa4096.sigstore.json'],
    ['cosign-rsa4096.pub', 'payload.rsa4096.cosign-2.sigstore.json'],
    ['cosign-rsa4096.pub', 'payload.rsa4096.cosign-2.json'],
    ['cosign-rsa4096.pub', 'payload.rsa4096.cosign-2.sig'],
    ['rsa3072.pub', 'payload.rsa3072.sig'],
  ] as const
  let payload: Buffer
  beforeAll(async () => void (payload = await fixture('payload.txt')))

  it.each(FILES)('%s verifies %s', async (key, file) => {
    const keys = [await readPublicKey(fixturePath(key))]
    const signature = parseDetachedSignature(await fixture(file), file)
    expect(verifySignature({ payload, signature, keys })).toMatchObject({ ok: true })
    expect(verifySignature({ payload: Buffer.from('x'), signature, keys }).ok).toBe(false)
    const others = FILES.filter(([other]) => other !== key).map(([other]) =>
      readPublicKey(fixturePath(other)),
    )
    expect(verifySignature({ payload, signature, keys: await Promise.all(others) }).ok).toBe(false)
  })

  it('a raw signature of an RSA key is known by its length, its base64 by its characters', async () => {
    const text = await fixture('payload.rsa3072.sig')
    // The base64 of 3072 bits has as many characters as 4096 bits have bytes.
    expect(text).toHaveLength(512)
    const raw = Buffer.from(text.toString(), 'base64')
    expect(parseDetachedSignature(text, 'f')).toEqual({ der: raw })
    expect(parseDetachedSignature(raw, 'f')).toEqual({ der: raw })
    for (const cut of [raw.subarray(1), Buffer.concat([raw, Buffer.from([0xff])])]) {
      expect((await errorOf(() => parseDetachedSignature(cut, 'f'))).code).toBe('INVALID_CONTENT')
    }
  })

  it.each(['cosign-p384', 'cosign-rsa4096'])("cosign's own file of %s opens, and signs", async (name) => {
    const key = await readPrivateKey(fixturePath(`${name}.key`), () => Promise.resolve('fixture'))
    const keys = [await readPublicKey(fixturePath(`${name}.pub`))]
    const { bundleJson } = await signBytes(payload, key)
    expect(verifySignature({ payload, signature: { bundleJson }, keys })).toMatchObject({ ok: true })
  })
})

describe('an RSA key', () => {
  const [, { privateKey, publicKey }] = KINDS[2]

  it.each([
    ['PKCS#1', {}],
    ['encrypted PKCS#1', { cipher: 'aes-256-cbc', passphrase: 'fixture' }],
  ])('is read from %s, as older tools write it', async (_, lock) => {
    const pem = privateKey.export({ type: 'pkcs1', format: 'pem', ...lock }).toString()
    expect(pem).toContain('BEGIN RSA PRIVATE KEY')
    const asked: string[] = []
    const key = await readPrivateKey(await temporaryFile(pem), async () => (asked.push(''), 'fixture'))
    expect(asked).toHaveLength(Object.keys(lock).length > 0 ? 1 : 0)
    expect(key.publicKey.fingerprint).toBe(parse(publicKey).fingerprint)
  })

  it('[duty: key-kinds] with another exponent is refused, the private one too', async () => {
    const odd = generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 })
    const pem = odd.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    const file = await temporaryFile(pem)
    for (const read of [() => parse(odd.publicKey), () => readPrivateKey(file, noPassword)]) {
      const error = await errorOf(read)
      expect(error.code).toBe('INVALID_KEY')
      expect(error.message).toContain('an RSA key with the public exponent 3; only 65537 is accepted')
    }
  })

  it.each([
    ['16384', 16384, 'which is larger than cosign and others accept'],
    ['8192', 8192, 'which is larger than cosign and others accept'],
    ['2040', 2040, 'which is too short to be safe'],
    ['512', 512, 'which is too short to be safe'],
  ])('of %s bits is refused, without much work', async (name, bits, reason) => {
    const error = await errorOf(() =>
      parsePublicKey(Buffer.from(toPem('PUBLIC KEY', rsaSpki(bits))), 'k.pub'),
    )
    expect(error.message).toContain(`RSA ${name}, ${reason}; accepted: ECDSA P-256, ECDSA P-384, RSA 2048`)
  })

  it('whose exponent is as long as a novel is refused in a few words', async () => {
    const spki = rsaSpki(2048, Buffer.alloc(200, 0x7f))
    const error = await errorOf(() => parsePublicKey(Buffer.from(toPem('PUBLIC KEY', spki)), 'k.pub'))
    expect(error.code).toBe('INVALID_KEY')
    expect(error.message.length).toBeLessThan(200)
  })

  it('without the NULL that its parameters are has another encoding', async () => {
    const der = spkiOf(publicKey)
    const without = Buffer.concat([
      Buffer.from('30820120300b06092a864886f70d010101', 'hex'),
      der.subarray(der.indexOf(Buffer.from('0382010f00', 'hex'))),
    ])
    const error = await errorOf(() => parsePublicKey(Buffer.from(toPem('PUBLIC KEY', without)), 'k.pub'))
    expect(error.code).toBe('INVALID_KEY')
    expect(error.hint ?? '').toMatch(/openssl rsa|^$/)
  })

  /** A key of that length that nobody has the other half of. */
  function rsaSpki(bits: number, exponent = Buffer.from([1, 0, 1])): Buffer {
    const modulus = Buffer.alloc(bits / 8, 0xc5)
    const jwk = { kty: 'RSA', n: modulus.toString('base64url'), e: exponent.toString('base64url') }
    return spkiOf(createPublicKey({ key: jwk, format: 'jwk' }))
  }
})

describe('an elliptic key in another encoding', () => {
  it.each([
    [...KINDS[0], 26],
    [...KINDS[1], 23],
  ] as const)('hybrid, which is as long, is refused: %s', async (_, { publicKey }, at) => {
    const der = Buffer.from(spkiOf(publicKey))
    expect(der[at]).toBe(4)
    der.writeUInt8(6 + (der.readUInt8(der.length - 1) & 1), at)
    expect(createPublicKey({ key: der, format: 'der', type: 'spki' }).asymmetricKeyType).toBe('ec')
    const error = await errorOf(() => parsePublicKey(Buffer.from(toPem('PUBLIC KEY', der)), 'k.pub'))
    expect(error.message).toContain('an unusual encoding')
  })

  it('compressed is refused, with the way out', async () => {
    const [, { publicKey }] = KINDS[1]
    const der = spkiOf(publicKey)
    const compressed = Buffer.concat([
      Buffer.from('3046301006072a8648ce3d020106052b81040022033200', 'hex'),
      Buffer.from([2 + (der.readUInt8(119) & 1)]),
      der.subarray(24, 72),
    ])
    const same = createPublicKey({ key: compressed, format: 'der', type: 'spki' })
    expect(same.export({ format: 'jwk' })).toEqual(publicKey.export({ format: 'jwk' }))
    const error = await errorOf(() => parsePublicKey(Buffer.from(toPem('PUBLIC KEY', compressed)), 'k.pub'))
    expect(error.message).toContain('an unusual encoding')
    expect(error.hint).toContain('-conv_form uncompressed')
  })
})
