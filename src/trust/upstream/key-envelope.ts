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

// The members of the protobuf messages and no others, as Go's decoder has it.
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
 * Verifies a Sigstore bundle (sigstore/protobuf-specs, `sigstore_bundle.proto`) that holds an envelope
 * (secure-systems-lab/dsse, protocol.md) signed by one of the keys. What it says of itself (hint, log entries) makes no
 * difference. Never throws for anything that the bytes may hold.
 *
 * @returns the envelope's payload, which is authentic, and not looked at.
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

/** What is sound and not an envelope by a key deserves a better answer than a schema's. */
function otherContent(value: unknown): string | undefined {
  const material = has(value, 'verificationMaterial') ? value.verificationMaterial : undefined
  if (has(material, 'certificate') || has(material, 'x509CertificateChain')) {
    return 'it was made with a certificate where a signature by a key is required'
  }
  if (has(value, 'messageSignature')) return MESSAGE_SIGNATURE
  return undefined
}

/** Why a signature by a key is refused: it does not say which key it was made with. */
export const OTHER_KEY = 'it was made with another key than the one required, or it was altered'

/** Why a signature over bytes is none of an image. */
export const MESSAGE_SIGNATURE = 'it signs bytes that are not there, and says nothing of an image'
