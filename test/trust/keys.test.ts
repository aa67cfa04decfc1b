import { createHash, createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { generateKeyPair, parsePublicKey, readPrivateKey, readPublicKey } from '../../src/trust/keys.ts'
import { toPem } from '../../src/trust/pem.ts'
import { errorOf, fixture, fixturePath, noPassword, temporaryFile, temporaryFolder } from './helpers.ts'

const answer = (password: string) => () => Promise.resolve<string | undefined>(password)

function p256() {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' })
}

describe("cosign's own files", () => {
  it('opens the private key with its password, and it belongs to the public key', async () => {
    const key = await readPrivateKey(fixturePath('cosign.key'), answer('fixture'))
    const publicKey = await readPublicKey(fixturePath('cosign.pub'))
    expect(key.publicKey.fingerprint).toBe(publicKey.fingerprint)
    const bytes = Buffer.from('some bytes')
    const pem = await fixture('cosign.pub')
    expect(verify('sha256', bytes, pem, await key.sign(bytes))).toBe(true)
  })

  it('names the key as cosign named it in its bundle', async () => {
    const { hint, fingerprint, source } = await readPublicKey(fixturePath('cosign.pub'))
    const bundle = JSON.parse((await fixture('payload.sigstore.json')).toString()) as {
      verificationMaterial: { publicKey: { hint: string } }
    }
    expect(hint).toBe(bundle.verificationMaterial.publicKey.hint)
    expect(fingerprint).toBe(Buffer.from(hint, 'base64').toString('hex'))
    expect(source).toBe(fixturePath('cosign.pub'))
  })

  it('says that the password is wrong', async () => {
    const error = await errorOf(() => readPrivateKey(fixturePath('cosign.key'), answer('hunter2hunter2')))
    expect(error.code).toBe('PASSWORD')
    expect(error.exitCode).toBe(5)
    expect(error.message).toContain('cosign.key')
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('hunter2')
  })

  it('says that a password is needed when there is none', async () => {
    const error = await errorOf(() =>
      readPrivateKey(fixturePath('cosign.key'), () => Promise.resolve(undefined)),
    )
    expect(error.code).toBe('PASSWORD')
    expect(error.hint).toContain('AIRGAP_PASSWORD')
    expect(error.hint).toContain('COSIGN_PASSWORD')
  })
})

describe('a generated key pair', () => {
  it.each(['correct horse', 'pä ß 密', '', ' trailing newline\n'])(
    'opens with its password %j',
    async (password) => {
      const { privateKeyPem, publicKeyPem } = generateKeyPair(password)
      expect(privateKeyPem).toMatch(/^-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n/)
      const key = await readPrivateKey(await temporaryFile(privateKeyPem), answer(password))
      const publicKey = parsePublicKey(Buffer.from(publicKeyPem), 'x.pub')
      expect(key.publicKey.fingerprint).toBe(publicKey.fingerprint)
      const der = createPublicKey(publicKeyPem).export({ type: 'spki', format: 'der' })
      expect(publicKey.fingerprint).toBe(createHash('sha256').update(der).digest('hex'))
    },
  )

  it('takes a password of bytes as the string of the same UTF-8', async () => {
    const { privateKeyPem } = generateKeyPair(new TextEncoder().encode('pä'))
    await readPrivateKey(await temporaryFile(privateKeyPem), answer('pä'))
  })

  it('does not show its private half', async () => {
    const { privateKey } = p256()
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    const key = await readPrivateKey(await temporaryFile(pem), noPassword)
    const { d } = privateKey.export({ format: 'jwk' })
    const shown = inspect(key, { depth: 9, showHidden: true }) + JSON.stringify(key)
    expect(shown).not.toContain(String(d))
    expect(shown).not.toContain(Buffer.from(String(d), 'base64url').toString('hex'))
  })
})

describe('forms of private key', () => {
  const { privateKey, publicKey } = p256()
  const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const sec1 = privateKey.export({ type: 'sec1', format: 'pem' }).toString()
  const lock = { cipher: 'aes-256-cbc', passphrase: 'fixture' }
  const pkcs8Locked = privateKey.export({ type: 'pkcs8', format: 'pem', ...lock }).toString()
  const sec1Locked = privateKey.export({ type: 'sec1', format: 'pem', ...lock }).toString()
  const parameters = toPem('EC PARAMETERS', Buffer.from('06082a8648ce3d030107', 'hex'))
  const bytes = Buffer.from('bytes')

  it.each([
    ['PKCS#8', pkcs8],
    ['SEC1', sec1],
    ['SEC1 after its parameters', parameters + sec1],
    ['Windows line ends and a byte order mark', `\ufeff${pkcs8.replaceAll('\n', '\r\n')}`],
    ['explanatory text', `Bag Attributes\n    friendlyName: x\n${pkcs8}`],
  ])('%s signs, and no password is asked for', async (_, pem) => {
    const key = await readPrivateKey(await temporaryFile(pem), noPassword)
    expect(verify('sha256', bytes, publicKey, await key.sign(bytes))).toBe(true)
  })

  it.each([
    ['PKCS#8', pkcs8Locked, 'ENCRYPTED PRIVATE KEY'],
    ['SEC1', sec1Locked, 'Proc-Type: 4,ENCRYPTED'],
  ])('encrypted %s signs with its password alone', async (_, pem, mark) => {
    expect(pem).toContain(mark)
    const path = await temporaryFile(pem)
    const key = await readPrivateKey(path, answer('fixture'))
    expect(verify('sha256', bytes, publicKey, await key.sign(bytes))).toBe(true)
    const wrong = await errorOf(() => readPrivateKey(path, answer('hunter2hunter2')))
    expect(wrong.code).toBe('PASSWORD')
    expect(inspect(wrong, { depth: 9 })).not.toContain('hunter2')
    const none = await errorOf(() => readPrivateKey(path, () => Promise.resolve(undefined)))
    expect(none.code).toBe('PASSWORD')
    expect(none.message).toContain('no password was given')
    await readPrivateKey(path, answer('fixture'))
  })

  it('is read through a link, as secrets are mounted', async () => {
    const target = await temporaryFile(pkcs8)
    const path = join(dirname(target), 'link.key')
    await symlink(target, path)
    await readPrivateKey(path, noPassword)
  })

  it.skipIf(process.platform === 'win32').each([
    [0o600, 0],
    [0o400, 0],
    [0o640, 1],
    [0o644, 1],
    [0o602, 1],
  ])('with mode %o gets %i warnings', async (mode, count) => {
    const path = await temporaryFile(pkcs8, 'signing.key', mode)
    await chmod(path, mode)
    const { warnings } = await readPrivateKey(path, noPassword)
    expect(warnings).toHaveLength(count)
    for (const warning of warnings) {
      expect(warning).toContain(path)
      expect(warning).toContain(`0${mode.toString(8)}`)
    }
  })
})

const OTHER_KINDS = [
  ['ECDSA P-521', generateKeyPairSync('ec', { namedCurve: 'P-521' })],
  ['ECDSA secp256k1', generateKeyPairSync('ec', { namedCurve: 'secp256k1' })],
  ['RSA 1024, which is too short to be safe', generateKeyPairSync('rsa', { modulusLength: 1024 })],
  ['RSA 2056, a length that cosign refuses', generateKeyPairSync('rsa', { modulusLength: 2056 })],
  [
    'RSA-PSS 2048, whose signatures cosign cannot check',
    generateKeyPairSync('rsa-pss', { modulusLength: 2048 }),
  ],
  ['Ed25519', generateKeyPairSync('ed25519')],
  ['X25519', generateKeyPairSync('x25519')],
] as const

describe('keys that are not accepted', () => {
  it.each(OTHER_KINDS)('a private %s is named, and so is what is accepted', async (kind, { privateKey }) => {
    const path = await temporaryFile(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
    const error = await errorOf(() => readPrivateKey(path, noPassword))
    expect(error.code).toBe('INVALID_KEY')
    expect(error.message).toContain(kind)
    expect(error.message).toContain('accepted: ECDSA P-256')
  })

  it.each(OTHER_KINDS)('a public %s is named, and so is what is accepted', async (kind, { publicKey }) => {
    const path = await temporaryFile(publicKey.export({ type: 'spki', format: 'pem' }).toString())
    const error = await errorOf(() => readPublicKey(path))
    expect(error.code).toBe('INVALID_KEY')
    expect(error.message).toContain(kind)
    expect(error.message).toContain('accepted: ECDSA P-256')
  })

  const { privateKey, publicKey } = p256()
  const privatePem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const publicPem = publicKey.export({ type: 'spki', format: 'pem' }).toString()

  it.each([
    ['PKCS#8', privatePem],
    ['SEC1', privateKey.export({ type: 'sec1', format: 'pem' }).toString()],
    ["cosign's", generateKeyPair('x').privateKeyPem],
  ])('a private key (%s) does not pass for a public one', async (_, pem) => {
    const error = await errorOf(() => parsePublicKey(Buffer.from(pem), 'a.key'))
    expect(error.code).toBe('INVALID_KEY')
    expect(error.message).toMatch(/^a\.key holds a private key where a public key .* is needed$/)
    expect(error.hint).toContain('.pub')
  })

  it('a public key does not pass for a private one', async () => {
    const path = await temporaryFile(publicPem)
    const error = await errorOf(() => readPrivateKey(path, noPassword))
    expect(error.code).toBe('INVALID_KEY')
    expect(error.message).toContain('holds a public key where a private key')
    expect(error.hint).toContain('.key')
  })

  it('a certificate does not pass for the key in it', async () => {
    const bundle = JSON.parse((await fixture('certificate.sigstore.json')).toString()) as {
      verificationMaterial: { certificate: { rawBytes: string } }
    }
    const der = Buffer.from(bundle.verificationMaterial.certificate.rawBytes, 'base64')
    const pem = toPem('CERTIFICATE', der)
    expect(createPublicKey(pem).asymmetricKeyType).toBe('ec') // node:crypto alone would take it
    const error = await errorOf(() => parsePublicKey(Buffer.from(pem), 'c.pem'))
    expect(error.message).toContain('holds a certificate where a public key')
  })

  it.each([
    ['nothing', '', /it is empty/],
    ['text', 'hello\n', /contains no PEM key$/],
    ['an SSH key', 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== me@host\n', /SSH public key/],
    ['DER', publicKey.export({ type: 'spki', format: 'der' }), /DER/],
    ['a block without an end', publicPem.slice(0, 60), /no matching END line/],
    ['two keys', publicPem + publicPem, /2 PEM blocks/],
    ['a private key beside a public one', publicPem + privatePem, /2 PEM blocks/],
    ['bad base64', publicPem.replace('MF', '!!'), /not base64/],
    ['a cut key', toPem('PUBLIC KEY', Buffer.from('3059301306072a86', 'hex')), /not a usable key/],
    ['an unknown block', toPem('SECRET SAUCE', Buffer.from('x')), /PEM block "SECRET SAUCE"/],
  ])('%s is refused as a public key, in words', async (_, contents, message) => {
    const error = await errorOf(() => parsePublicKey(Buffer.from(contents), 'k.pub'))
    expect(error.code).toBe('INVALID_KEY')
    expect(error.message).toMatch(message)
    expect(error.message).toContain('k.pub')
  })

  it.each([
    ['off the curve', (der: Buffer) => der.fill(der.readUInt8(90) ^ 1, 90, 91)],
    ['at infinity', () => Buffer.from('3019301306072a8648ce3d020106082a8648ce3d03010703020000', 'hex')],
  ])('a point %s is no key', async (_, change) => {
    const der = change(Buffer.from(publicKey.export({ type: 'spki', format: 'der' })))
    const error = await errorOf(() => parsePublicKey(Buffer.from(toPem('PUBLIC KEY', der)), 'k.pub'))
    expect(error.code).toBe('INVALID_KEY')
    // OpenSSL keeps a list of errors, and what stands there can spoil the next key that is read.
    await readPrivateKey(await temporaryFile(privatePem), noPassword)
  })

  it('private and public halves that do not belong together are no pair', async () => {
    const der = privateKey.export({ type: 'pkcs8', format: 'der' })
    const own = publicKey.export({ type: 'spki', format: 'der' }).subarray(-64)
    const foreign = p256().publicKey.export({ type: 'spki', format: 'der' }).subarray(-64)
    const at = der.indexOf(own)
    expect(at).toBeGreaterThan(0)
    foreign.copy(der, at)
    const path = await temporaryFile(toPem('PRIVATE KEY', der))
    const error = await errorOf(() => readPrivateKey(path, noPassword))
    expect(error.code).toBe('INVALID_KEY')
    expect(error.message).toContain('do not belong together')
  })

  it.each([64 * 1024 + 1, 1024 * 1024])('a file of %i bytes is too large', async (size) => {
    const path = await temporaryFile(publicPem + '\n'.repeat(size - publicPem.length))
    for (const read of [() => readPublicKey(path), () => readPrivateKey(path, noPassword)]) {
      const error = await errorOf(read)
      expect(error.code).toBe('FILE')
      expect(error.message).toContain('64 KiB')
    }
  })

  it('a file of just 64 KiB is not', async () => {
    const path = await temporaryFile(publicPem + '\n'.repeat(64 * 1024 - publicPem.length))
    await readPublicKey(path)
  })

  it.skipIf(!existsSync('/dev/zero'))('an endless file ends in an error', async () => {
    expect((await errorOf(() => readPublicKey('/dev/zero'))).message).toContain('64 KiB')
  })

  it('folders and missing files are named', async () => {
    const folder = await temporaryFolder()
    expect((await errorOf(() => readPublicKey(folder))).message).toContain(`${folder}: that is a folder`)
    const missing = join(folder, 'none.key')
    const error = await errorOf(() => readPrivateKey(missing, noPassword))
    expect(error.code).toBe('FILE')
    expect(error.message).toContain(missing)
  })
})

describe('one key has one encoding', () => {
  it('so a compressed point is refused, with the way out', async () => {
    const { publicKey } = p256()
    const spki = publicKey.export({ type: 'spki', format: 'der' })
    const compressed = Buffer.concat([
      Buffer.from('3039301306072a8648ce3d020106082a8648ce3d030107032200', 'hex'),
      Buffer.from([2 + (spki.readUInt8(90) & 1)]),
      spki.subarray(27, 59),
    ])
    const same = createPublicKey({ key: compressed, format: 'der', type: 'spki' })
    expect(same.export({ format: 'jwk' })).toEqual(publicKey.export({ format: 'jwk' }))
    const error = await errorOf(() => parsePublicKey(Buffer.from(toPem('PUBLIC KEY', compressed)), 'k.pub'))
    expect(error.code).toBe('INVALID_KEY')
    expect(error.message).toContain('k.pub holds a key in an unusual encoding')
    expect(error.hint).toContain('-conv_form uncompressed')
  })

  it('and so are bytes that follow the key', async () => {
    const spki = p256().publicKey.export({ type: 'spki', format: 'der' })
    const longer = Buffer.concat([spki, Buffer.from([0])])
    const error = await errorOf(() => parsePublicKey(Buffer.from(toPem('PUBLIC KEY', longer)), 'k.pub'))
    expect(error.code).toBe('INVALID_KEY')
  })

  it('and its fingerprint is the SHA-256 of that', () => {
    const { publicKey } = p256()
    const spki = publicKey.export({ type: 'spki', format: 'der' })
    const { fingerprint, hint } = parsePublicKey(Buffer.from(toPem('PUBLIC KEY', spki)), 'k.pub')
    expect(fingerprint).toBe(createHash('sha256').update(spki).digest('hex'))
    expect(hint).toBe(createHash('sha256').update(spki).digest('base64'))
  })
})
