import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import type { Digest } from '../../../src/oci/digest.ts'
import { parsePublicKey, type PublicKey } from '../../../src/trust/keys.ts'
import type { OfferedSignature } from '../../../src/trust/upstream/signature.ts'
import type { Sigstore, SignOptions } from '../sigstore.ts'

/** What cosign signs for an image. */
export function payloadOf(digest: Digest, reference = 'registry.example/team/app'): Buffer {
  return Buffer.from(
    JSON.stringify({
      critical: {
        identity: { 'docker-reference': reference },
        image: { 'docker-manifest-digest': digest },
        type: 'cosign container image signature',
      },
      optional: null,
    }),
  )
}

/** What cosign 3 signs for an image. */
export function statementOf(digest: Digest, predicateType = 'https://sigstore.dev/cosign/sign/v1'): object {
  return {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ digest: { sha256: digest.slice('sha256:'.length) }, annotations: {} }],
    predicateType,
    predicate: {},
  }
}

/** An upstream that signs with a key, in cosign's two forms. */
export interface KeyUpstream {
  key: PublicKey
  pem: string
  layer(payload: Uint8Array): OfferedSignature
  envelope(statement: object): OfferedSignature
}

export function makeKeyUpstream(): KeyUpstream {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  return {
    key: parsePublicKey(Buffer.from(pem), 'upstream.pub'),
    pem,
    layer: (payload) => ({
      form: 'simple-signing',
      bytes: payload,
      annotations: {
        'dev.cosignproject.cosign/signature': sign('sha256', payload, privateKey).toString('base64'),
      },
    }),
    envelope: (statement) => ({ form: 'sigstore-bundle', bytes: envelope(statement, privateKey) }),
  }
}

function envelope(statement: object, privateKey: KeyObject): Buffer {
  const type = 'application/vnd.in-toto+json'
  const payload = Buffer.from(JSON.stringify(statement))
  const signed = Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload])
  return Buffer.from(
    JSON.stringify({
      mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
      verificationMaterial: { publicKey: { hint: '' } },
      dsseEnvelope: {
        payload: payload.toString('base64'),
        payloadType: type,
        signatures: [{ sig: sign('sha256', signed, privateKey).toString('base64') }],
      },
    }),
  )
}

/** A keyless signature on a layer, as cosign 2 leaves it. */
export async function certifiedLayer(
  sigstore: Sigstore,
  payload: Uint8Array,
  options?: SignOptions,
): Promise<OfferedSignature> {
  const { signature, certificate, chain, bundle } = await sigstore.signLayer(payload, options)
  return {
    form: 'simple-signing',
    bytes: payload,
    annotations: {
      'dev.cosignproject.cosign/signature': signature,
      'dev.sigstore.cosign/certificate': certificate,
      'dev.sigstore.cosign/chain': chain,
      'dev.sigstore.cosign/bundle': bundle,
    },
  }
}

/** A keyless signature as cosign 3 leaves it. */
export async function certifiedBundle(
  sigstore: Sigstore,
  statement: object,
  options?: SignOptions,
): Promise<OfferedSignature> {
  return { form: 'sigstore-bundle', bytes: await sigstore.attest(statement, options) }
}
