import { createHash, verify } from 'node:crypto'
import { bundleToJSON, toMessageSignatureBundle } from '@sigstore/bundle'
import { HashAlgorithm } from '@sigstore/protobuf-specs'
import { AirgapError } from '../errors.ts'
import { acceptedKind, type SignatureHash } from './key-kinds.ts'
import type { PublicKey, SigningKey } from './keys.ts'
import { lowS } from './low-s.ts'

/** A signature in both forms. */
export interface Signature {
  /** A Sigstore bundle v0.3 as JSON with a newline at the end, for `cosign verify-blob --bundle`. */
  bundleJson: Buffer
  /** The raw signature for `openssl dgst -verify`: DER for ECDSA, the plain number for RSA. */
  der: Buffer
}

/**
 * Signs `bytes`, and verifies the result with the public key, because a key held elsewhere may return anything.
 *
 * @throws AirgapError `SIGNING` if the result is not a signature by that key; those of `key.sign`; the signal's reason.
 */
export async function signBytes(
  bytes: Uint8Array,
  key: SigningKey,
  signal?: AbortSignal,
): Promise<Signature> {
  const raw = await key.sign(bytes, signal)
  signal?.throwIfAborted()
  const signature = signatureOf(bytes, raw, key.publicKey)
  if (signature) return signature
  const { source, fingerprint, kind } = key.publicKey
  throw new AirgapError(
    'SIGNING',
    `the result is not a signature by the key ${fingerprint} (${kind}, ${source}) over these bytes`,
    {
      hint: 'Either another key signed, or the signature is not in the expected form: ECDSA in DER, RSA with PKCS #1 v1.5, over SHA-256.',
    },
  )
}

/**
 * Both forms of the signature `raw` over `bytes`, in the encoding that {@link lowS} gives. The Sigstore bundle names
 * the key by its hint, as in cosign, states the hash of the signature, and contains no log entries or timestamps.
 *
 * @returns undefined if `raw` is not a signature by `publicKey` over `bytes`.
 * @throws AirgapError `INVALID_KEY` for a key of a kind that is not accepted.
 */
export function signatureOf(bytes: Uint8Array, raw: Uint8Array, publicKey: PublicKey): Signature | undefined {
  const { keyObject, source } = publicKey
  const { hashes, order } = acceptedKind(keyObject, source)
  const der = order === undefined ? Buffer.from(raw) : lowS(raw, order)
  const hash = hashes.find((each) => verify(each, bytes, keyObject, der))
  return hash && { der, bundleJson: toBundleJson(bytes, der, publicKey, hash) }
}

/**
 * A placeholder for a signature by `publicKey`, for when only the size matters, to the block of a tar archive.
 */
export function placeholderSignature(bytes: Uint8Array, publicKey: PublicKey): Signature {
  const { hashes, signatureBytes } = acceptedKind(publicKey.keyObject, publicKey.source)
  const der = Buffer.alloc(signatureBytes)
  return { der, bundleJson: toBundleJson(bytes, der, publicKey, hashes[0]) }
}

const ALGORITHMS = { sha256: HashAlgorithm.SHA2_256, sha384: HashAlgorithm.SHA2_384 }

function toBundleJson(
  bytes: Uint8Array,
  signature: Buffer,
  { hint }: PublicKey,
  hash: SignatureHash,
): Buffer {
  const digest = createHash(hash).update(bytes).digest()
  const bundle = toMessageSignatureBundle({ digest, signature, keyHint: hint })
  // The library always states SHA2_256.
  bundle.content.messageSignature.messageDigest.algorithm = ALGORITHMS[hash]
  return Buffer.from(`${JSON.stringify(bundleToJSON(bundle))}\n`)
}
