import { createHash } from 'node:crypto'
import { bundleToJSON, toMessageSignatureBundle } from '@sigstore/bundle'
import type { SigningKey } from './keys.ts'
import { lowS } from './low-s.ts'

/** One signature in its two forms. */
export interface Signature {
  /** A Sigstore bundle v0.3 as JSON with a newline at the end: for `cosign verify-blob --bundle`. */
  bundleJson: Buffer
  /** The signature alone, DER: for `openssl dgst -verify`. */
  der: Buffer
}

/**
 * Signs `bytes`, in the one spelling that {@link lowS} leaves. The Sigstore bundle names the key by its hint, as cosign does, and holds neither log entries
 * nor timestamps.
 */
export function signBytes(bytes: Uint8Array, key: SigningKey): Signature {
  const der = lowS(key.sign(bytes))
  const bundle = toMessageSignatureBundle({
    digest: createHash('sha256').update(bytes).digest(),
    signature: der,
    keyHint: key.publicKey.hint,
  })
  return { bundleJson: Buffer.from(`${JSON.stringify(bundleToJSON(bundle))}\n`), der }
}
