import {
  BUNDLE_V03_MEDIA_TYPE,
  bundleFromJSON,
  bundleToJSON,
  isBundleWithDsseEnvelope,
  isBundleWithPublicKey,
  toDSSEBundle,
  type Bundle,
} from '@sigstore/bundle'
import * as v from 'valibot'
import { AirgapError } from '../../errors.ts'
import { COSIGN_SIGN_PREDICATE } from '../../oci/cosign.ts'
import { hexOf, isDigest, type Digest } from '../../oci/digest.ts'
import { checkShape, parseStrictJson } from '../../oci/json.ts'
import { IN_TOTO_PAYLOAD, preAuthEncoding } from '../dsse.ts'
import { BUNDLE_JSON_LIMIT } from '../key-bundle.ts'
import type { PublicKey, SigningKey } from '../keys.ts'
import { isSignature, signOver } from './cosign.ts'

/** The media type of a Sigstore bundle, which is also the artifact type of its manifest. */
export const SIGSTORE_BUNDLE_TYPE = BUNDLE_V03_MEDIA_TYPE

const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1'

/**
 * A signature as `cosign sign --key` writes it since version 3: a Sigstore bundle v0.3 with a DSSE envelope with an
 * in-toto statement, whose subject is the digest. It contains no reference.
 */
export async function signDigest(digest: Digest, key: SigningKey): Promise<Buffer> {
  const statement = {
    _type: STATEMENT_TYPE,
    subject: [{ digest: { sha256: hexOf(digest) }, annotations: {} }],
    predicateType: COSIGN_SIGN_PREDICATE,
    predicate: {},
  }
  const payload = Buffer.from(JSON.stringify(statement))
  const bundle = toDSSEBundle({
    artifact: payload,
    artifactType: IN_TOTO_PAYLOAD,
    signature: await signOver(preAuthEncoding(IN_TOTO_PAYLOAD, payload), key),
    keyHint: key.publicKey.hint,
  })
  // If this is not empty, cosign looks for a key of that name elsewhere.
  for (const signature of bundle.content.dsseEnvelope.signatures) signature.keyid = ''
  return Buffer.from(JSON.stringify(bundleToJSON(bundle)))
}

const text = v.string()
const StatementShape = v.looseObject({
  _type: v.literal(STATEMENT_TYPE),
  predicateType: v.literal(COSIGN_SIGN_PREDICATE),
  subject: v.array(v.looseObject({ digest: v.record(text, text) })),
})
const EnvelopeShape = v.looseObject({
  mediaType: v.literal(SIGSTORE_BUNDLE_TYPE),
  verificationMaterial: v.looseObject({ publicKey: v.looseObject({}) }),
  dsseEnvelope: v.looseObject({
    payload: text,
    payloadType: v.literal(IN_TOTO_PAYLOAD),
    signatures: v.array(v.looseObject({ sig: text })),
  }),
})

/**
 * Whether `json` is such a bundle with a signature by `key` for exactly this digest. Never throws, whatever the bytes
 * are.
 */
export function isDigestSignature(json: Uint8Array, digest: Digest, key: PublicKey): boolean {
  if (json.length > BUNDLE_JSON_LIMIT) return false
  const envelope = envelopeIn(json)
  if (!envelope) return false
  const signed = preAuthEncoding(IN_TOTO_PAYLOAD, envelope.payload)
  // cosign writes only one signature per envelope, and reads only the first.
  const [signature, ...others] = envelope.signatures
  if (!signature || others.length > 0 || signature.keyid !== '') return false
  if (!isSignature(signed, signature.sig, key)) return false
  return subjectOf(envelope.payload) === digest
}

interface Envelope {
  payload: Buffer
  signatures: { sig: Buffer; keyid: string }[]
}

function envelopeIn(json: Uint8Array): Envelope | undefined {
  try {
    const bundle: Bundle = bundleFromJSON(
      checkShape(EnvelopeShape, parseStrictJson(json, 'Sigstore bundle'), 'Sigstore bundle'),
    )
    if (!isBundleWithPublicKey(bundle) || !isBundleWithDsseEnvelope(bundle)) return undefined
    return bundle.content.dsseEnvelope
  } catch {
    // The try block only parses bytes from outside, and the library may throw anything.
    return undefined
  }
}

function subjectOf(payload: Uint8Array): Digest | undefined {
  try {
    const { subject } = checkShape(StatementShape, parseStrictJson(payload, 'statement'), 'statement')
    const [only, ...others] = subject
    const digest = `sha256:${only?.digest['sha256'] ?? ''}`
    return others.length === 0 && isDigest(digest) ? digest : undefined
  } catch (error) {
    if (error instanceof AirgapError && error.code === 'INVALID_CONTENT') return undefined
    throw error
  }
}
