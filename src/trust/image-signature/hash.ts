import { verify } from 'node:crypto'
import { AirgapError } from '../../errors.ts'
import type { PublicKey, SigningKey } from '../keys.ts'
import { DER_LIMIT } from '../verify.ts'

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
