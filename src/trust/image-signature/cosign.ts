import { AirgapError } from '../../errors.ts'
import { decodeBase64 } from '../pem.ts'
import type { PublicKey, SigningKey } from '../keys.ts'
import { verify } from 'node:crypto'
import { DER_LIMIT } from '../verify.ts'
import * as v from 'valibot'
import { type Digest, isDigest } from '../../oci/digest.ts'
import { checkKeyCase, checkShape, parseStrictJson } from '../../oci/json.ts'

/** In bytes. A payload says which image it is for, and little more. */
export const MAX_PAYLOAD = 16 * 1024

const TYPE = 'cosign container image signature'

/** The content of a simple signing payload. */
interface SignedImage {
  /** The signer's name for the image: `registry/repository:tag`. */
  reference: string
  /** Digest of the manifest or index. */
  digest: Digest
}

/**
 * The payload that cosign and containers/image sign and read (containers/image, containers-signature.5; cosign,
 * SIGNATURE_SPEC.md). It is always the same for the same image, with the members as cosign writes them.
 */
export function simpleSigningPayload({ reference, digest }: SignedImage): Buffer {
  const critical = {
    identity: { 'docker-reference': reference },
    image: { 'docker-manifest-digest': digest },
    type: TYPE,
  }
  return Buffer.from(JSON.stringify({ critical, optional: null }))
}

// `critical` must have only these members, as in containers/image; `optional` is not used.
const PayloadShape = v.strictObject({
  critical: v.strictObject({
    type: v.literal(TYPE),
    image: v.strictObject({ 'docker-manifest-digest': v.custom<Digest>(isDigest) }),
    identity: v.strictObject({ 'docker-reference': v.string() }),
  }),
  optional: v.nullable(v.looseObject({})),
})

/**
 * Parses an untrusted payload.
 * @throws AirgapError `INVALID_CONTENT`
 */
export function parseSimpleSigning(bytes: Uint8Array): SignedImage {
  const what = 'simple signing payload'
  const value = parseStrictJson(bytes, what)
  if (typeof value === 'object' && value !== null) checkKeyCase(value, ['critical', 'optional'], what)
  const { critical } = checkShape(PayloadShape, value, what)
  return {
    reference: critical.identity['docker-reference'],
    digest: critical.image['docker-manifest-digest'],
  }
}

/**
 * The hash for signatures of images, whatever the key: containers/image accepts no other (signature/internal,
 * VerifySigstorePayload), and it is the default of cosign, Kyverno and policy-controller.
 */
const HASH = 'sha256'

/** Whether `signature` is by `key` over the SHA-256 of these bytes. Never throws, whatever the signature is. */
export function isSignature(bytes: Uint8Array, signature: Uint8Array, { keyObject }: PublicKey): boolean {
  return signature.length > 0 && signature.length <= DER_LIMIT && verify(HASH, bytes, keyObject, signature)
}

/**
 * Signs, and verifies the result, so that a signature that no cluster accepts is never used.
 * @throws AirgapError `INVALID_KEY`; and what the key throws.
 */
export async function signOver(bytes: Uint8Array, key: SigningKey): Promise<Buffer> {
  const signature = Buffer.from(await key.sign(bytes))
  if (isSignature(bytes, signature, key.publicKey)) return signature
  throw new AirgapError(
    'INVALID_KEY',
    `the result of signing with ${key.publicKey.source} is not a signature over SHA-256 by the key ${key.publicKey.fingerprint}`,
    { hint: 'Images are signed over SHA-256, because clusters accept nothing else.' },
  )
}

/** A signature as in a layer of a cosign signature manifest. */
export interface CosignSignature {
  payload: Buffer
  /** The signature over the payload, in base64: the value of the layer's annotation. */
  signature: string
}

/** Signs an image like `cosign sign --key` without a log. */
export async function signImage(image: SignedImage, key: SigningKey): Promise<CosignSignature> {
  const payload = simpleSigningPayload(image)
  return { payload, signature: (await signOver(payload, key)).toString('base64') }
}

/**
 * Whether `signature` is by `key`, for exactly this image. Never throws, whatever payload and signature are.
 */
export function isImageSignature(
  { payload, signature }: { payload: Uint8Array; signature: string },
  image: SignedImage,
  key: PublicKey,
): boolean {
  const der = decodeBase64(signature)
  if (!der || !isSignature(payload, der, key)) return false
  try {
    const said = parseSimpleSigning(payload)
    return said.digest === image.digest && said.reference === image.reference
  } catch (error) {
    // The key signed something else.
    if (error instanceof AirgapError && error.code === 'INVALID_CONTENT') return false
    throw error
  }
}
