import { createHash, verify } from 'node:crypto'
import type { Bundle } from '@sigstore/bundle'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import { toSignedEntity, toTrustMaterial, VerificationError, Verifier } from '@sigstore/verify'
import { decodeBase64 } from './pem.ts'
import { readKeyBundle } from './key-bundle.ts'
import { acceptedKind, hashName } from './key-kinds.ts'
import type { PublicKey } from './keys.ts'

/** Maximum size of a raw signature, in bytes. */
export const DER_LIMIT = 4 * 1024

/** A signature in one form, or the same signature in both. */
export interface GivenSignature {
  bundleJson?: Uint8Array | undefined
  der?: Uint8Array | undefined
}

/**
 * What is wrong with a signature:
 * `no-key` no key to verify it with · `no-signature` nothing to verify · `malformed` not readable as a signature ·
 * `certificate` keyless · `forms-differ` the two forms are different signatures · `other-content` made over other
 * bytes · `wrong-key` made with a key that was not given · `invalid` does not match although it names the right content
 * and key: forged or damaged
 */
export type SignatureFault =
  | 'no-key'
  | 'no-signature'
  | 'malformed'
  | 'certificate'
  | 'forms-differ'
  | 'other-content'
  | 'wrong-key'
  | 'invalid'

export type SignatureVerdict =
  | { ok: true; key: PublicKey; form: 'sigstore-bundle' | 'raw' }
  /** `stranger`: the key that the signature names, if it was not given; it is not verified to be by that key. */
  | { ok: false; fault: SignatureFault; reason: string; stranger?: string }

/**
 * Verifies a signature over `payload` with the given keys; one matching key is enough. If both forms are given, both
 * must be sound and contain the same signature. Only `keys` are trusted: nothing that the signature says about itself
 * (hint, log entries, timestamps) can make it pass.
 *
 * Never throws, whatever the signature contains. `reason` is a clause about the signature ("it was made with another
 * key: …") that is safe to print.
 *
 * @throws AirgapError `INVALID_KEY` for a key of a kind that is not accepted.
 */
export function verifySignature({
  payload,
  signature,
  keys,
}: {
  payload: Uint8Array
  signature: GivenSignature
  keys: readonly PublicKey[]
}): SignatureVerdict {
  const { bundleJson, der } = signature
  if (keys.length === 0) return refuse('no-key', 'no public key was given to verify it with')
  for (const key of keys) acceptedKind(key.keyObject, key.source)
  if (der && der.length === 0) return refuse('malformed', 'the raw signature is empty')
  if (der && der.length > DER_LIMIT) {
    return refuse('malformed', 'the raw signature is larger than 4 KiB, so it is not a signature')
  }
  if (bundleJson) return verifyBundle(payload, bundleJson, der, keys)
  if (der) return verifyRaw(payload, der, keys)
  return refuse('no-signature', 'there is no signature')
}

function verifyBundle(
  payload: Uint8Array,
  bundleJson: Uint8Array,
  der: Uint8Array | undefined,
  keys: readonly PublicKey[],
): SignatureVerdict {
  const read = readKeyBundle(bundleJson)
  if (!read.ok) return refuse(read.fault, read.reason)
  const { bundle, hint, hash } = read
  if (der && !read.signature.equals(der)) {
    return refuse('forms-differ', 'the Sigstore bundle and the raw signature are not the same signature')
  }
  // The library compares this digest only with log entries, and there are none.
  const digest = createHash(hash).update(payload).digest()
  if (!read.digest.equals(digest)) {
    const also = isForeign(hint, keys) ? `, and with another key: ${hintAndKeys(hint, keys)}` : ''
    return refuse(
      'other-content',
      `it was made over other content: it signs ${hashName(hash)} ${read.digest.toString('hex')}, ` +
        `these bytes have ${digest.toString('hex')}${also}`,
    )
  }
  const fitting = keys.filter((each) => acceptedKind(each.keyObject, each.source).hashes.includes(hash))
  if (fitting.length === 0) {
    const kinds = [...new Set(keys.map(({ kind }) => kind))].join(', ')
    return refuse('wrong-key', `it was made over ${hashName(hash)}, which does not go with ${kinds}`)
  }
  // The hint is not authenticated and every tool may write it in its own way, so it only explains failures.
  const key = fitting.find((each) => verifiesWith(bundle, payload, each))
  if (key) return { ok: true, key, form: 'sigstore-bundle' }
  if (hint === '') {
    return refuse('wrong-key', `it was made with none of the keys given, or it was altered: ${keyList(keys)}`)
  }
  if (isForeign(hint, keys)) {
    return {
      ...refuse('wrong-key', `it was made with another key: ${hintAndKeys(hint, keys)}`),
      stranger: keyOfHint(hint) ?? hint,
    }
  }
  return refuse(
    'invalid',
    'it does not match these bytes, although it names a key that was given: ' +
      `it is forged or damaged (${hintInWords(hint)})`,
  )
}

function verifiesWith(bundle: Bundle, payload: Uint8Array, key: PublicKey): boolean {
  const finder = () => ({ publicKey: key.keyObject, validFor: () => true })
  // All three are needed: the default for timestamps is 1.
  const thresholds = { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 }
  const verifier = new Verifier(toTrustMaterial(TrustedRoot.fromJSON({}), finder), thresholds)
  try {
    verifier.verify(toSignedEntity(bundle, Buffer.from(payload)))
    return true
  } catch (error) {
    if (error instanceof VerificationError) return false
    throw error
  }
}

function verifyRaw(payload: Uint8Array, der: Uint8Array, keys: readonly PublicKey[]): SignatureVerdict {
  const key = keys.find((each) => {
    const { hashes } = acceptedKind(each.keyObject, each.source)
    return hashes.some((hash) => verify(hash, payload, each.keyObject, der))
  })
  if (key) return { ok: true, key, form: 'raw' }
  return refuse(
    'wrong-key',
    'it was made with none of the keys given or over other bytes; a raw signature does not say which ' +
      `(${keyList(keys)})`,
  )
}

function isForeign(hint: string, keys: readonly PublicKey[]): boolean {
  return hint !== '' && !keys.some((key) => key.hint === hint)
}

function hintAndKeys(hint: string, keys: readonly PublicKey[]): string {
  return `${hintInWords(hint)}; ${keyList(keys)}`
}

/** The hint, also as a fingerprint if it is one, so that it can be compared with those of the keys. */
function hintInWords(hint: string): string {
  const key = keyOfHint(hint)
  if (key !== undefined) return `hint ${hint}, which is the key ${key}`
  return /^[A-Za-z0-9+/=_.:-]{1,128}$/.test(hint) ? `hint ${hint}` : 'a hint that is not the name of a key'
}

/** The fingerprint in a hint by airgap or cosign. */
function keyOfHint(hint: string): string | undefined {
  const hash = decodeBase64(hint)
  return hash?.length === 32 ? hash.toString('hex') : undefined
}

function keyList(keys: readonly PublicKey[]): string {
  return `keys given: ${keys.map((key) => `${key.fingerprint} (${key.source})`).join(', ')}`
}

function refuse(fault: SignatureFault, reason: string): Extract<SignatureVerdict, { ok: false }> {
  return { ok: false, fault, reason }
}
