import * as v from 'valibot'
import { AirgapError } from '../../errors.ts'
import { checkShape, parseStrictJson } from '../../oci/json.ts'
import { decodeBase64 } from '../pem.ts'
import { BUNDLE_MEDIA_TYPES } from '../bundle-types.ts'
import { preAuthEncoding } from '../dsse.ts'
import type { Refused } from '../identity/certificate-bundle.ts'
import { BUNDLE_JSON_LIMIT, KeyMaterialShape } from '../key-bundle.ts'
import type { PublicKey } from '../keys.ts'
import { has } from '../members.ts'
import { verifySignature } from '../verify.ts'

const MEMBERS = 'a member is missing, unknown or of the wrong kind'

const base64 = v.pipe(
  v.string('a base64 string is expected'),
  v.transform((text) => decodeBase64(text)),
  v.instance(Buffer, 'it is not canonical base64'),
)

// Only the members of the protobuf messages, like Go's decoder.
const KeyEnvelope = v.strictObject(
  {
    mediaType: v.picklist(BUNDLE_MEDIA_TYPES, 'it is not a known kind of Sigstore bundle'),
    verificationMaterial: KeyMaterialShape,
    dsseEnvelope: v.strictObject(
      {
        payload: base64,
        payloadType: v.pipe(v.string('a string is expected'), v.maxLength(1000, 'it is too long')),
        signatures: v.pipe(
          v.array(
            v.strictObject({ sig: base64, keyid: v.optional(v.string('a string is expected')) }, MEMBERS),
            'a list is expected',
          ),
          v.length(1, 'one signature is expected'),
        ),
      },
      MEMBERS,
    ),
  },
  MEMBERS,
)

/**
 * Verifies a Sigstore bundle (sigstore/protobuf-specs, `sigstore_bundle.proto`) with an envelope
 * (secure-systems-lab/dsse, protocol.md) that is signed by one of the keys. What it says about itself (hint, log
 * entries) is ignored. Never throws, whatever the bytes are.
 *
 * @returns the envelope's payload, which is authentic, but not parsed.
 * @throws AirgapError `INVALID_KEY` for a key of a kind that is not accepted.
 */
export function verifyKeyEnvelope(
  json: Uint8Array,
  keys: readonly PublicKey[],
): { ok: true; key: PublicKey; payloadType: string; payload: Buffer } | Refused {
  if (json.length > BUNDLE_JSON_LIMIT) return { ok: false, reason: 'it is larger than 1 MiB' }
  const what = 'its Sigstore bundle'
  let envelope: v.InferOutput<typeof KeyEnvelope>['dsseEnvelope']
  try {
    const value = parseStrictJson(json, what)
    const other = otherContent(value)
    if (other !== undefined) return { ok: false, reason: other }
    envelope = checkShape(KeyEnvelope, value, what).dsseEnvelope
  } catch (error) {
    if (error instanceof AirgapError) return { ok: false, reason: error.message }
    throw error
  }
  const { payload, payloadType, signatures } = envelope
  const [signature] = signatures
  const verdict =
    signature &&
    verifySignature({
      payload: preAuthEncoding(payloadType, payload),
      signature: { der: signature.sig },
      keys,
    })
  if (verdict?.ok) return { ok: true, key: verdict.key, payloadType, payload }
  return { ok: false, reason: OTHER_KEY }
}

/** Gives a better reason than the schema for a sound bundle that is not an envelope signed by a key. */
function otherContent(value: unknown): string | undefined {
  const material = has(value, 'verificationMaterial') ? value.verificationMaterial : undefined
  if (has(material, 'certificate') || has(material, 'x509CertificateChain')) {
    return 'it was made with a certificate, but a signature by a key is required'
  }
  if (has(value, 'messageSignature')) return MESSAGE_SIGNATURE
  return undefined
}

/** Why a signature by a key is refused. A raw signature does not say which key made it. */
export const OTHER_KEY = 'it was made with another key than the one required, or it was altered'

/** Why a signature over bytes is not a signature of an image. */
export const MESSAGE_SIGNATURE = 'it signs other bytes, and says nothing about an image'
