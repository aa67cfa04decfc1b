import { AirgapError } from '../../errors.ts'
import { decodeBase64 } from '../base64.ts'
import type { PublicKey, SigningKey } from '../keys.ts'
import { isSignature, signOver } from './hash.ts'
import { parseSimpleSigning, simpleSigningPayload, type SignedImage } from './simple-signing.ts'

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
