import { AirgapError } from '../../errors.ts'
import { decodeBase64 } from '../pem.ts'
import type { PublicKey, SigningKey } from '../keys.ts'
import { verify } from 'node:crypto'
import { DER_LIMIT } from '../verify.ts'
import * as v from 'valibot'
import { type Digest, isDigest } from '../../oci/digest.ts'
import { checkKeyCase, checkShape, parseStrictJson } from '../../oci/json.ts'

/** A payload says which image it is for, and little more. Bytes. */
export const MAX_PAYLOAD = 16 * 1024

const TYPE = 'cosign container image signature'

/** What a simple signing payload says. */
interface SignedImage {
  /** `registry/repository:tag` that the signer says the image is. */
  reference: string
  /** Of the manifest or index. */
  digest: Digest
}

/**
 * The payload that cosign and containers/image sign and read (containers/image, containers-signature.5; cosign,
 * SIGNATURE_SPEC.md): the same bytes for the same image, member for member as cosign writes them.
 */
export function simpleSigningPayload({ reference, digest }: SignedImage): Buffer {
  const critical = {
    identity: { 'docker-reference': reference },
    image: { 'docker-manifest-digest': digest },
    type: TYPE,
  }
  return Buffer.from(JSON.stringify({ critical, optional: null }))
}

// The members of `critical` and no others, as containers/image has it; `optional` is nobody's business here.
const PayloadShape = v.strictObject({
  critical: v.strictObject({
    type: v.literal(TYPE),
    image: v.strictObject({ 'docker-manifest-digest': v.custom<Digest>(isDigest) }),
    identity: v.strictObject({ 'docker-reference': v.string() }),
  }),
  optional: v.nullable(v.looseObject({})),
})

/**
 * Reads a payload that anybody may have written.
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
 * The hash that signatures of images are over, whatever the key: containers/image checks no other (signature/internal,
 * VerifySigstorePayload), and cosign, Kyverno and policy-controller take it unless they are told otherwise.
 */
const HASH = 'sha256'

/** Whether `signature` is one by `key` over these bytes, and their SHA-256. Never throws for anything that it may hold. */
export function isSignature(bytes: Uint8Array, signature: Uint8Array, { keyObject }: PublicKey): boolean {
  return signature.length > 0 && signature.length <= DER_LIMIT && verify(HASH, bytes, keyObject, signature)
}

/**
 * Signs, and checks what came of it: a signature that no cluster accepts must not be taken for one.
 * @throws AirgapError `INVALID_KEY`; and what the key throws.
 */
export async function signOver(bytes: Uint8Array, key: SigningKey): Promise<Buffer> {
  const signature = Buffer.from(await key.sign(bytes))
  if (isSignature(bytes, signature, key.publicKey)) return signature
  throw new AirgapError(
    'INVALID_KEY',
    `what was signed with ${key.publicKey.source} is not a signature over SHA-256 by the key ${key.publicKey.fingerprint}`,
    { hint: 'Images are signed over SHA-256, because clusters check nothing else.' },
  )
}

/** A signature as the layer of a cosign signature manifest has it. */
export interface CosignSignature {
  payload: Buffer
  /** Over the payload, in base64: the value of the layer's annotation. */
  signature: string
}

/** Signs what an image is, as `cosign sign --key` does without a log. */
export async function signImage(image: SignedImage, key: SigningKey): Promise<CosignSignature> {
  const payload = simpleSigningPayload(image)
  return { payload, signature: (await signOver(payload, key)).toString('base64') }
}

/**
 * Whether `signature` is one by `key`, and over exactly this image. Never throws for anything that the two may hold.
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
    // Somebody signed something else with the same key.
    if (error instanceof AirgapError && error.code === 'INVALID_CONTENT') return false
    throw error
  }
}
