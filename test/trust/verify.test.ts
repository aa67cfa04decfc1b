import { createHash, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { readPublicKey, type PublicKey } from '../../src/trust/keys.ts'
import { signBytes, type Signature } from '../../src/trust/signature.ts'
import { verifySignature, type SignatureFault, type SignatureVerdict } from '../../src/trust/verify.ts'
import { errorOf, fixture, fixturePath, testKey, type TestKey } from './helpers.ts'

const PAYLOAD = Buffer.from(`${'a'.repeat(64)}  airgap.json\n${'b'.repeat(64)}  index.json\n`)

let key: TestKey
let other: TestKey
let signature: Signature

beforeAll(async () => {
  key = await testKey('ours.pub')
  other = await testKey('other.pub')
  signature = await signBytes(PAYLOAD, key.signing)
})

/** A bundle with anything in it. */
interface Loose {
  [key: string]: unknown
  mediaType: unknown
  verificationMaterial: Record<string, unknown>
  messageSignature: Record<string, unknown> & { messageDigest: Record<string, unknown> }
}

/** The good bundle, changed by `change`, or what that returns in a buffer. */
function bundleWith(change: (bundle: Loose) => unknown): Buffer {
  const bundle = JSON.parse(signature.bundleJson.toString()) as Loose
  const result = change(bundle)
  return Buffer.from(result instanceof Buffer ? result : JSON.stringify(bundle))
}

function verdictOf(bundleJson: Uint8Array | undefined, more: { der?: Uint8Array; keys?: PublicKey[] } = {}) {
  const { der, keys = [key.publicKey] } = more
  return verifySignature({ payload: PAYLOAD, signature: { bundleJson, der }, keys })
}

function faultOf(verdict: SignatureVerdict): SignatureFault | 'none' {
  return verdict.ok ? 'none' : verdict.fault
}

function reasonOf(verdict: SignatureVerdict): string {
  return verdict.ok ? '' : verdict.reason
}

describe('signBytes', () => {
  it('writes a Sigstore bundle v0.3 that names the key as cosign does', () => {
    const text = signature.bundleJson.toString()
    expect(text.endsWith('}\n')).toBe(true)
    expect(JSON.parse(text)).toMatchObject({
      mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
      verificationMaterial: { publicKey: { hint: key.publicKey.hint } },
      messageSignature: {
        messageDigest: {
          algorithm: 'SHA2_256',
          digest: createHash('sha256').update(PAYLOAD).digest('base64'),
        },
        signature: signature.der.toString('base64'),
      },
    })
    expect(JSON.parse(text)).not.toHaveProperty('verificationMaterial.tlogEntries')
  })

  it('and every signature of any bytes verifies in both forms', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 500 }), async (payload) => {
        const { bundleJson, der } = await signBytes(payload, key.signing)
        const keys = [other.publicKey, key.publicKey]
        for (const given of [{ bundleJson }, { der }, { bundleJson, der }]) {
          const verdict = verifySignature({ payload, signature: given, keys })
          expect(verdict).toEqual({
            ok: true,
            key: key.publicKey,
            form: 'bundleJson' in given ? 'sigstore-bundle' : 'raw',
          })
        }
      }),
    )
  })
})

describe('signatures of other tools', () => {
  it.each([
    ['cosign 3', 'payload.sigstore.json', undefined],
    ['OpenSSL', undefined, 'payload.sig'],
  ])('%s', async (_, bundleFile, derFile) => {
    const publicKey = await readPublicKey(fixturePath('cosign.pub'))
    const given = {
      bundleJson: bundleFile === undefined ? undefined : await fixture(bundleFile),
      der: derFile === undefined ? undefined : Buffer.from((await fixture(derFile)).toString(), 'base64'),
    }
    const payload = await fixture('payload.txt')
    const keys = [key.publicKey, publicKey]
    expect(verifySignature({ payload, signature: given, keys })).toMatchObject({ ok: true, key: publicKey })
    const wrong = Buffer.concat([payload, Buffer.from('\n')])
    expect(verifySignature({ payload: wrong, signature: given, keys }).ok).toBe(false)
  })
})

describe('a signature that must not pass', () => {
  it('without a key: there is nothing to trust', () => {
    expect(faultOf(verdictOf(signature.bundleJson, { keys: [] }))).toBe('no-key')
  })

  it('when there is none', () => {
    expect(faultOf(verdictOf(undefined))).toBe('no-signature')
  })

  it('by another key: names both', () => {
    const verdict = verdictOf(signature.bundleJson, { keys: [other.publicKey] })
    expect(faultOf(verdict)).toBe('wrong-key')
    for (const part of [
      key.publicKey.hint,
      key.publicKey.fingerprint,
      other.publicKey.fingerprint,
      'other.pub',
    ]) {
      expect(reasonOf(verdict)).toContain(part)
    }
  })

  it('by another key under our hint: forged', async () => {
    const others = await other.signing.sign(PAYLOAD)
    const forged = bundleWith((b) => {
      b.messageSignature['signature'] = others.toString('base64')
    })
    expect(faultOf(verdictOf(forged))).toBe('invalid')
    expect(reasonOf(verdictOf(forged))).toContain('forged or damaged')
  })

  it('by another key without a hint', () => {
    const anonymous = bundleWith((b) => (b.verificationMaterial['publicKey'] = {}))
    expect(verdictOf(anonymous).ok).toBe(true)
    const verdict = verdictOf(anonymous, { keys: [other.publicKey] })
    expect(faultOf(verdict)).toBe('wrong-key')
    expect(reasonOf(verdict)).toContain(other.publicKey.fingerprint)
  })

  it('over other bytes: says both digests', () => {
    const payload = Buffer.from('another list')
    const verdict = verifySignature({
      payload,
      signature: { bundleJson: signature.bundleJson },
      keys: [key.publicKey],
    })
    expect(faultOf(verdict)).toBe('other-content')
    for (const bytes of [payload, PAYLOAD]) {
      expect(reasonOf(verdict)).toContain(createHash('sha256').update(bytes).digest('hex'))
    }
    expect(reasonOf(verdict)).not.toContain('another key')
  })

  it('over other bytes and by another key: says both', () => {
    const verdict = verifySignature({
      payload: Buffer.from('another list'),
      signature: { bundleJson: signature.bundleJson },
      keys: [other.publicKey],
    })
    expect(faultOf(verdict)).toBe('other-content')
    expect(reasonOf(verdict)).toContain('and with another key')
    expect(reasonOf(verdict)).toContain(other.publicKey.fingerprint)
  })

  it('with a digest of something else, although the signature itself is right', () => {
    const lying = bundleWith((b) => {
      b.messageSignature.messageDigest['digest'] = createHash('sha256').update('x').digest('base64')
    })
    expect(faultOf(verdictOf(lying))).toBe('other-content')
  })

  it('raw, by another key', () => {
    const verdict = verdictOf(undefined, { der: signature.der, keys: [other.publicKey] })
    expect(faultOf(verdict)).toBe('wrong-key')
    expect(reasonOf(verdict)).toContain(other.publicKey.fingerprint)
  })

  it('when a hint holds no key name, which is not repeated', () => {
    const nasty = bundleWith(
      (b) => (b.verificationMaterial['publicKey'] = { hint: '\u001b[2J\u202eVERIFIED' }),
    )
    const reason = reasonOf(verdictOf(nasty, { keys: [other.publicKey] }))
    expect(reason).toMatch(/^[\x20-\x7e]+$/)
    expect(reason).not.toContain('VERIFIED')
  })
})

describe('a certificate', () => {
  it('[duty: key-means-key] never satisfies a key, even if it certifies that very key', async () => {
    const bundleJson = await fixture('certificate.sigstore.json')
    const payload = await fixture('payload.txt')
    const publicKey = await readPublicKey(fixturePath('cosign.pub'))
    const parsed = JSON.parse(bundleJson.toString()) as {
      messageSignature: { signature: string }
      verificationMaterial: { certificate: { rawBytes: string } }
    }
    const der = Buffer.from(parsed.messageSignature.signature, 'base64')
    // The signature as such is right, and the certificate's key is ours.
    expect(verifySignature({ payload, signature: { der }, keys: [publicKey] }).ok).toBe(true)
    const certified = createPublicKey({
      key: toPemText(parsed.verificationMaterial.certificate.rawBytes),
      format: 'pem',
    })
    expect(certified.equals(publicKey.keyObject)).toBe(true)

    for (const given of [{ bundleJson }, { bundleJson, der }]) {
      const verdict = verifySignature({ payload, signature: given, keys: [publicKey] })
      expect(faultOf(verdict)).toBe('certificate')
      expect(reasonOf(verdict)).toMatch(
        /certificate \(keyless signing\), but a signature by a key is required/,
      )
      expect(reasonOf(verdict)).toContain('a key cannot verify a keyless signature')
    }
  })

  it.each([
    'application/vnd.dev.sigstore.bundle+json;version=0.1',
    'application/vnd.dev.sigstore.bundle+json;version=0.2',
    'application/vnd.dev.sigstore.bundle.v0.3+json',
  ])('chain is one too, in %s', (mediaType) => {
    const chain = bundleWith((b) => {
      b.mediaType = mediaType
      b.verificationMaterial = { x509CertificateChain: { certificates: [{ rawBytes: 'AAAA' }] } }
    })
    expect(faultOf(verdictOf(chain))).toBe('certificate')
  })

  it.each(['certificate', 'x509CertificateChain'])('beside a key (%s) is refused as ambiguous', (member) => {
    const both = bundleWith((b) => (b.verificationMaterial[member] = { rawBytes: 'AAAA' }))
    expect(faultOf(verdictOf(both))).toBe('malformed')
    expect(reasonOf(verdictOf(both))).toContain('both a key and a certificate')
  })

  it('the attestation by the right key is not a signature over the bytes', async () => {
    const verdict = verifySignature({
      payload: await fixture('payload.txt'),
      signature: { bundleJson: await fixture('attestation.sigstore.json') },
      keys: [await readPublicKey(fixturePath('cosign.pub'))],
    })
    expect(faultOf(verdict)).toBe('malformed')
    expect(reasonOf(verdict)).toContain('attestation')
  })
})

function toPemText(base64: string): string {
  return `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`
}

describe('a bundle that could be read in two ways, or in none', () => {
  it.each<[string, RegExp, (b: Loose) => unknown]>([
    ['an unknown version', /mediaType: it is not a known kind/, (b) => (b.mediaType = type('v0.9'))],
    [
      'a longer media type',
      /mediaType: it is not a known kind/,
      (b) => (b.mediaType = `${type('v0.3')};x=1`),
    ],
    ['a media type in an array', /mediaType: it is not a known kind/, (b) => (b.mediaType = [type('v0.3')])],
    ['no media type', /mediaType/, (b) => Reflect.deleteProperty(b, 'mediaType')],
    ['a member that nobody knows', /extra/, (b) => (b['extra'] = 1)],
    ['a second spelling', /MessageSignature/, (b) => (b['MessageSignature'] = b.messageSignature)],
    ['a protobuf name', /message_signature/, (b) => (b['message_signature'] = b.messageSignature)],
    ['an unknown member inside', /Signature/, (b) => (b.messageSignature['Signature'] = 'AAAA')],
    ['no signature', /messageSignature\.signature/, (b) => delete b.messageSignature['signature']],
    ['an empty signature', /signature: it is not canonical/, (b) => sign64(b, () => '')],
    ['a stray character', /signature: it is not canonical/, (b) => sign64(b, (s) => `*${s}`)],
    ['a line break', /signature: it is not canonical/, (b) => sign64(b, (s) => `${s}\n`)],
    ['a signature without padding', /signature: it is not canonical/, (b) => sign64(b, () => 'MAA')],
    ['a signature in an array', /signature: a base64 string/, (b) => sign64(b, (s) => [s])],
    ['no digest', /messageDigest/, (b) => Reflect.deleteProperty(b.messageSignature, 'messageDigest')],
    ['an empty digest', /digest: it is not canonical/, (b) => digest64(b, { digest: '' })],
    [
      'a short digest',
      /messageDigest: the digest does not have the length/,
      (b) => digest64(b, { digest: 'AAAA' }),
    ],
    ['another hash', /algorithm: only SHA2_256 and SHA2_384/, (b) => digest64(b, { algorithm: 'SHA3_256' })],
    ['a hash by number', /algorithm: only SHA2_256/, (b) => digest64(b, { algorithm: 1 })],
    ['no hash', /algorithm/, (b) => delete b.messageSignature.messageDigest['algorithm']],
    ['no material', /verificationMaterial/, (b) => Reflect.deleteProperty(b, 'verificationMaterial')],
    ['no key', /publicKey/, (b) => delete b.verificationMaterial['publicKey']],
    ['null for a key', /publicKey/, (b) => (b.verificationMaterial['publicKey'] = null)],
    ['a hint that is a number', /hint/, (b) => (b.verificationMaterial['publicKey'] = { hint: 1 })],
    ['two kinds of content', /both a message signature and an/, (b) => (b['dsseEnvelope'] = {})],
    [
      'log entries of no shape',
      /do not make a Sigstore/,
      (b) => (b.verificationMaterial['tlogEntries'] = [null]),
    ],
    ['a key given twice', /occurs twice/, (b) => Buffer.from(`{"mediaType":"x",${text(b).slice(1)}`)],
    ['something after it', /not JSON/, (b) => Buffer.from(`${text(b)}{}`)],
    ['a byte order mark', /not JSON/, (b) => Buffer.from(`\ufeff${text(b)}`)],
    ['an array', /mediaType/, (b) => Buffer.from(`[${text(b)}]`)],
    ['null', /member/, () => Buffer.from('null')],
    ['nothing', /not JSON/, () => Buffer.from('')],
  ])('%s is malformed, in plain characters', (_, message, change) => {
    const verdict = verdictOf(bundleWith(change))
    expect(faultOf(verdict)).toBe('malformed')
    expect(reasonOf(verdict)).toMatch(/^it is not a usable Sigstore bundle: [\x20-\x7e]+$/)
    expect(reasonOf(verdict)).toMatch(message)
  })

  const text = (b: Loose) => JSON.stringify(b)
  const type = (version: string) => `application/vnd.dev.sigstore.bundle.${version}+json`

  function sign64(b: Loose, change: (signature: string) => unknown): void {
    b.messageSignature['signature'] = change(String(b.messageSignature['signature']))
  }

  function digest64(b: Loose, change: Record<string, unknown>): void {
    Object.assign(b.messageSignature.messageDigest, change)
  }

  it('foreign names in it are quoted harmlessly', () => {
    const verdict = verdictOf(bundleWith((b) => (b['\u001b[2J\u202e\u0007'] = 1)))
    expect(faultOf(verdict)).toBe('malformed')
    expect(reasonOf(verdict)).toMatch(/^[\x20-\x7e]{1,400}$/)
  })

  it('up to 1 MiB is read, beyond that nothing', () => {
    const limit = 1024 * 1024
    const padded = Buffer.alloc(limit, ' ')
    signature.bundleJson.copy(padded)
    expect(verdictOf(padded).ok).toBe(true)
    const verdict = verdictOf(Buffer.concat([padded, Buffer.from(' ')]))
    expect(faultOf(verdict)).toBe('malformed')
    expect(reasonOf(verdict)).toContain('1 MiB')
  })
})

describe('what says nothing about a bare key', () => {
  const entry = {
    logIndex: '1',
    logId: { keyId: 'AAAA' },
    kindVersion: { kind: 'hashedrekord', version: '0.0.1' },
    integratedTime: '1',
    inclusionPromise: { signedEntryTimestamp: 'AAAA' },
    inclusionProof: {
      logIndex: '1',
      rootHash: 'AAAA',
      treeSize: '2',
      hashes: [],
      checkpoint: { envelope: 'x' },
    },
    canonicalizedBody: 'AAAA',
  }

  it('log entries that nobody can check', () => {
    const logged = bundleWith((b) => (b.verificationMaterial['tlogEntries'] = [entry, entry]))
    expect(verdictOf(logged).ok).toBe(true)
    expect(verdictOf(logged, { keys: [other.publicKey] }).ok).toBe(false)
  })

  it('timestamps that are none', () => {
    const stamped = bundleWith((b) => {
      b.verificationMaterial['timestampVerificationData'] = {
        rfc3161Timestamps: [{ signedTimestamp: 'AAAA' }],
      }
    })
    expect(verdictOf(stamped).ok).toBe(true)
  })

  it('the hint: the key decides', () => {
    const mislabelled = bundleWith(
      (b) => (b.verificationMaterial['publicKey'] = { hint: other.publicKey.hint }),
    )
    expect(verdictOf(mislabelled, { keys: [other.publicKey, key.publicKey] })).toMatchObject({
      ok: true,
      key: key.publicKey,
    })
    expect(verdictOf(mislabelled, { keys: [other.publicKey] }).ok).toBe(false)
  })
})

describe('both forms together', () => {
  it('must be one signature, even where each would do alone', async () => {
    const again = await key.signing.sign(PAYLOAD)
    for (const der of [again, twinOf(key)]) {
      expect(der.equals(signature.der)).toBe(false)
      expect(verdictOf(undefined, { der }).ok).toBe(true)
      expect(faultOf(verdictOf(signature.bundleJson, { der }))).toBe('forms-differ')
    }
  })

  it('must both be sound', () => {
    expect(faultOf(verdictOf(Buffer.from('{}'), { der: signature.der }))).toBe('malformed')
    expect(faultOf(verdictOf(signature.bundleJson, { der: Buffer.alloc(0) }))).toBe('malformed')
    expect(faultOf(verdictOf(signature.bundleJson, { der: Buffer.alloc(4097) }))).toBe('malformed')
    expect(faultOf(verdictOf(undefined, { der: Buffer.alloc(4097, 0x30) }))).toBe('malformed')
  })

  /** A second signature that anybody can make of a first: (r, n − s). */
  function twinOf({ privateKey }: TestKey): Buffer {
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
    const flat = sign('sha256', PAYLOAD, { key: privateKey, dsaEncoding: 'ieee-p1363' })
    const s = order - BigInt(`0x${flat.subarray(32).toString('hex')}`)
    const parts = [flat.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')].map(integer)
    const body = Buffer.concat(parts)
    return Buffer.concat([Buffer.from([0x30, body.length]), body])
  }

  function integer(bytes: Buffer): Buffer {
    let value = bytes
    while (value.length > 1 && value[0] === 0) value = value.subarray(1)
    if (value.readUInt8(0) >= 0x80) value = Buffer.concat([Buffer.from([0]), value])
    return Buffer.concat([Buffer.from([2, value.length]), value])
  }
})

describe('tampering', () => {
  /** What a bundle means here: all of it but the hint and the white space. */
  function meaning(json: Uint8Array): string | undefined {
    try {
      const bundle = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json)) as Loose
      if (typeof bundle.verificationMaterial['publicKey'] === 'object') {
        const named = bundle.verificationMaterial['publicKey'] as Record<string, unknown>
        if (typeof named['hint'] === 'string') delete named['hint']
      }
      return JSON.stringify(bundle)
    } catch {
      return undefined
    }
  }

  function* bitFlips(bytes: Buffer): Generator<Buffer> {
    for (let at = 0; at < bytes.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const copy = Buffer.from(bytes)
        copy[at] = copy.readUInt8(at) ^ (1 << bit)
        yield copy
      }
    }
  }

  it('no bit of the bundle can change unless it means the same', () => {
    const original = meaning(signature.bundleJson)
    let passed = 0
    for (const flipped of bitFlips(signature.bundleJson)) {
      if (!verdictOf(flipped).ok) continue
      passed++
      expect(meaning(flipped), flipped.toString()).toBe(original)
    }
    // Bits of the hint, and nearly nothing else.
    expect(passed).toBeLessThan(44 * 8)
  })

  it('no byte of the bundle can be left out unless it means the same', () => {
    const json = signature.bundleJson
    const original = meaning(json)
    for (let at = 0; at < json.length; at++) {
      const cut = [json.subarray(0, at), Buffer.concat([json.subarray(0, at), json.subarray(at + 1)])]
      for (const shorter of cut) {
        if (verdictOf(shorter).ok) expect(meaning(shorter), shorter.toString()).toBe(original)
      }
    }
  })

  it('no bit of the raw signature can change, and nothing be added or cut', () => {
    for (const der of bitFlips(signature.der)) expect(verdictOf(undefined, { der }).ok).toBe(false)
    for (let end = 0; end < signature.der.length; end++) {
      expect(verdictOf(undefined, { der: signature.der.subarray(0, end) }).ok).toBe(false)
    }
    const longer = Buffer.concat([signature.der, Buffer.from([0])])
    expect(verdictOf(undefined, { der: longer }).ok).toBe(false)
  })

  it('no bit of the payload can change', () => {
    for (const payload of bitFlips(PAYLOAD)) {
      for (const given of [{ bundleJson: signature.bundleJson }, { der: signature.der }]) {
        expect(verifySignature({ payload, signature: given, keys: [key.publicKey] }).ok).toBe(false)
      }
    }
  })

  it('whatever stands in a bundle, the answer is a verdict', () => {
    const paths = [
      ['mediaType'],
      ['verificationMaterial'],
      ['verificationMaterial', 'publicKey'],
      ['verificationMaterial', 'publicKey', 'hint'],
      ['verificationMaterial', 'certificate'],
      ['verificationMaterial', 'tlogEntries'],
      ['verificationMaterial', 'timestampVerificationData'],
      ['messageSignature'],
      ['messageSignature', 'messageDigest'],
      ['messageSignature', 'messageDigest', 'algorithm'],
      ['messageSignature', 'signature'],
      ['dsseEnvelope'],
    ]
    fc.assert(
      fc.property(fc.constantFrom(...paths), fc.jsonValue(), (path, value) => {
        const json = bundleWith((b) => {
          let at: Record<string, unknown> = b
          for (const step of path.slice(0, -1)) at = at[step] as Record<string, unknown>
          at[path.at(-1) ?? ''] = value
        })
        expect(verdictOf(json, { keys: [other.publicKey] }).ok).toBe(false)
      }),
      { numRuns: 500 },
    )
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(verdictOf(bytes).ok).toBe(false)
        expect(verdictOf(undefined, { der: bytes }).ok).toBe(false)
      }),
      { numRuns: 500 },
    )
  })
})

describe('a key of a kind that is not accepted', () => {
  it('verifies nothing, not even its own signature', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const foreign = { ...key.publicKey, keyObject: publicKey, source: 'ed.pub' }
    const der = sign(null, PAYLOAD, privateKey)
    for (const given of [{ der }, { bundleJson: signature.bundleJson }]) {
      const error = await errorOf(() =>
        verifySignature({ payload: PAYLOAD, signature: given, keys: [key.publicKey, foreign] }),
      )
      expect(error.code).toBe('INVALID_KEY')
      expect(error.message).toContain('Ed25519')
      expect(error.message).toContain('ed.pub')
    }
  })
})
