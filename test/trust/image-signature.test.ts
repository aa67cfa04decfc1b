import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import {
  isImageSignature,
  parseSimpleSigning,
  signImage,
  simpleSigningPayload,
} from '../../src/trust/image-signature/cosign.ts'
import { isDigestSignature, signDigest } from '../../src/trust/image-signature/sigstore-bundle.ts'
import { AirgapError } from '../../src/errors.ts'
import { anyText } from '../support/any-text.ts'
import { newSigner } from '../support/build-bundle.ts'

const key = newSigner()
const DIGEST = digestOf('image')
const REFERENCE = 'docker.io/library/nginx:1.29'

const digests = fc.uint8Array({ minLength: 1, maxLength: 8 }).map((bytes): Digest => digestOf(bytes))
const references = fc
  .oneof(anyText({ maxLength: 80 }), fc.constant(REFERENCE))
  .filter((text) => text.isWellFormed())

describe('simple signing payloads', () => {
  it('are the bytes that cosign writes', () => {
    // Of `cosign sign --key … docker.io/library/nginx@sha256:…`, version 3.1.3, with this name and digest.
    expect(simpleSigningPayload({ reference: REFERENCE, digest: DIGEST }).toString()).toBe(
      `{"critical":{"identity":{"docker-reference":"docker.io/library/nginx:1.29"},"image":{"docker-manifest-digest":"${DIGEST}"},"type":"cosign container image signature"},"optional":null}`,
    )
  })

  it('read back as what was written, and say nothing else', () => {
    fc.assert(
      fc.property(references, digests, (reference, digest) => {
        const payload = simpleSigningPayload({ reference, digest })
        expect(parseSimpleSigning(payload)).toEqual({ reference, digest })
        expect(simpleSigningPayload(parseSimpleSigning(payload))).toEqual(payload)
      }),
    )
  })

  it('of any other form are refused, never read as something', () => {
    const sound = JSON.parse(
      simpleSigningPayload({ reference: REFERENCE, digest: DIGEST }).toString(),
    ) as object
    const text = (from: string, to: string): string => JSON.stringify(sound).replace(from, to)
    for (const other of [
      '',
      'null',
      '[]',
      '{}',
      text('cosign container image signature', 'atomic container signature'),
      text(DIGEST, DIGEST.toUpperCase()),
      text('"docker-reference"', '"Docker-Reference"'),
      text('"critical"', '"Critical"'),
      text('"critical"', '"more":1,"critical"'),
      text('"type":', '"type":"x","type":'),
      text('"identity":{', '"identity":{"more":1,'),
      text('"optional":null', '"optional":1'),
      text('"optional":null', '"option":null'),
    ]) {
      expect(() => parseSimpleSigning(Buffer.from(other)), other).toThrow(AirgapError)
    }
  })

  it('of any bytes make no other error than ours', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json().map((json) => Buffer.from(json)),
          fc.uint8Array(),
        ),
        (bytes) => {
          try {
            parseSimpleSigning(bytes)
          } catch (error) {
            expect((error as AirgapError).code).toBe('INVALID_CONTENT')
          }
        },
      ),
    )
  })
})

describe('signatures of images', () => {
  it('hold for the reference and the digest that they are of, and for no other', async () => {
    const image = { reference: REFERENCE, digest: DIGEST }
    const signed = await signImage(image, key)
    expect(isImageSignature(signed, image, key.publicKey)).toBe(true)
    expect(isImageSignature(signed, image, newSigner().publicKey)).toBe(false)
    expect(isImageSignature(signed, { ...image, digest: digestOf('other') }, key.publicKey)).toBe(false)
    expect(isImageSignature(signed, { ...image, reference: `${REFERENCE}x` }, key.publicKey)).toBe(false)
    const payload = simpleSigningPayload({ ...image, reference: 'docker.io/library/other:1' })
    expect(
      isImageSignature(
        { ...signed, payload },
        { ...image, reference: 'docker.io/library/other:1' },
        key.publicKey,
      ),
    ).toBe(false)
  })

  it('are told from nonsense without an error', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.oneof(fc.string(), fc.base64String()), (payload, signature) => {
        const image = { reference: REFERENCE, digest: DIGEST }
        expect(isImageSignature({ payload, signature }, image, key.publicKey)).toBe(false)
      }),
    )
  })
})

describe('signatures as Sigstore bundles', () => {
  it('hold for their digest and key, and for no other', async () => {
    const json = await signDigest(DIGEST, key)
    expect(isDigestSignature(json, DIGEST, key.publicKey)).toBe(true)
    expect(isDigestSignature(json, digestOf('other'), key.publicKey)).toBe(false)
    expect(isDigestSignature(json, DIGEST, newSigner().publicKey)).toBe(false)
  })

  it('do not hold when anything that is signed is another', async () => {
    const bundle = JSON.parse((await signDigest(DIGEST, key)).toString()) as {
      dsseEnvelope: { payload: string; payloadType: string; signatures: { sig: string; keyid?: string }[] }
    }
    const { dsseEnvelope: envelope } = bundle
    const statement = JSON.parse(Buffer.from(envelope.payload, 'base64').toString()) as Record<
      string,
      unknown
    >
    const withStatement = (more: object): object => ({
      ...bundle,
      dsseEnvelope: {
        ...envelope,
        payload: Buffer.from(JSON.stringify({ ...statement, ...more })).toString('base64'),
      },
    })
    const withEnvelope = (more: object): object => ({ ...bundle, dsseEnvelope: { ...envelope, ...more } })
    const [signature] = envelope.signatures
    for (const other of [
      withStatement({ predicate: { more: true } }),
      withEnvelope({ payloadType: 'application/json' }),
      withEnvelope({ signatures: [] }),
      withEnvelope({ signatures: [signature, signature] }),
      // cosign looks for a key of that name.
      withEnvelope({ signatures: [{ ...signature, keyid: 'some key' }] }),
      { ...bundle, mediaType: 'application/vnd.dev.sigstore.bundle.v0.9+json' },
      { ...bundle, verificationMaterial: { certificate: { rawBytes: 'AAAA' } } },
    ]) {
      expect(isDigestSignature(Buffer.from(JSON.stringify(other)), DIGEST, key.publicKey)).toBe(false)
    }
  })

  it('of other statements by the key are no signatures [attack: attestation-as-signature]', async () => {
    const { dsseEnvelope: _, ...rest } = JSON.parse((await signDigest(DIGEST, key)).toString()) as {
      dsseEnvelope: object
    }
    const payloadType = 'application/vnd.in-toto+json'
    const attested = async (statement: object): Promise<Buffer> => {
      const payload = Buffer.from(JSON.stringify(statement))
      const signed = Buffer.from(
        `DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} ${payload.toString()}`,
      )
      const sig = Buffer.from(await key.sign(signed)).toString('base64')
      const dsseEnvelope = {
        payload: payload.toString('base64'),
        payloadType,
        signatures: [{ sig, keyid: '' }],
      }
      return Buffer.from(JSON.stringify({ ...rest, dsseEnvelope }))
    }
    const subject = [{ digest: { sha256: DIGEST.slice(7) } }]
    const statement = {
      _type: 'https://in-toto.io/Statement/v1',
      subject,
      predicateType: 'https://sigstore.dev/cosign/sign/v1',
      predicate: {},
    }
    expect(isDigestSignature(await attested(statement), DIGEST, key.publicKey)).toBe(true)
    for (const more of [
      { predicateType: 'https://slsa.dev/provenance/v1' },
      { _type: 'https://in-toto.io/Statement/v9' },
      { subject: [...subject, { digest: { sha256: digestOf('x').slice(7) } }] },
      { subject: [] },
      { subject: [{ digest: { sha512: DIGEST.slice(7) } }] },
    ]) {
      expect(isDigestSignature(await attested({ ...statement, ...more }), DIGEST, key.publicKey)).toBe(false)
    }
  })

  it('are told from nonsense without an error', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json().map((json) => Buffer.from(json)),
          fc.uint8Array(),
        ),
        (json) => {
          expect(isDigestSignature(json, DIGEST, key.publicKey)).toBe(false)
        },
      ),
    )
  })
})
