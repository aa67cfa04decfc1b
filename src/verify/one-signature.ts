import { readCertificateBundle, verifyCertificateBundle } from '../trust/identity/certificate-bundle.ts'
import { strangerReason, type Identity } from '../trust/identity/identity.ts'
import { revealed } from '../trust/identity/revealed.ts'
import type { Root } from '../trust/identity/trusted-root.ts'
import type { PublicKey } from '../trust/keys.ts'
import type { VerifiedSignature } from '../trust/verified.ts'
import { verifySignature, type GivenSignature } from '../trust/verify.ts'

/** Whose signatures the caller accepts. */
export interface Signers {
  keys: readonly PublicKey[]
  /** Whom a certificate may name; needs `root`. */
  identities?: readonly Identity[]
  root?: Root | undefined
}

export type SignatureCheck =
  | { ok: true; signature: VerifiedSignature }
  /**
   * `reason` is a clause about the signature. `instead`: it is of a kind that nothing was given for. `stranger`: there is
   * nothing wrong with it but whose it is.
   */
  | { ok: false; reason: string; instead?: 'key' | 'certificate'; stranger?: Stranger }

/** Somebody who has signed and was not expected to. */
export interface Stranger {
  kind: 'key' | 'identity'
  /** A key's fingerprint, or what else it is called; an identity with its issuer. */
  name: string
}

/**
 * Measures one signature against all that the caller trusts: one by a certificate against the identities, every other
 * against the keys. Neither is ever taken for the other.
 *
 * @param name the entry or file that holds it.
 * @throws AirgapError `USAGE` for an identity's pattern that takes too long; `INVALID_KEY` for a key that is not accepted.
 */
export function checkSignature(
  payload: Uint8Array,
  name: string,
  signature: GivenSignature,
  { keys, identities = [], root }: Signers,
): SignatureCheck {
  if (root && identities.length > 0) {
    const read = signature.bundleJson
      ? readCertificateBundle(signature.bundleJson)
      : {
          ok: false as const,
          isByKey: true,
          reason: 'it was made with a key, and one by a certificate is required',
        }
    if (read.ok) {
      if (read.content === 'dsse') {
        return {
          ok: false,
          reason: 'it holds an attestation (DSSE envelope), not a signature over these bytes',
        }
      }
      const verdict = verifyCertificateBundle(read, payload, root)
      if (!verdict.ok) return { ok: false, reason: verdict.reason }
      const reason = strangerReason(verdict.by, identities)
      if (reason !== undefined) {
        const name = `${revealed(verdict.by.identity)} (issuer ${revealed(verdict.by.issuer)})`
        return { ok: false, reason, stranger: { kind: 'identity', name } }
      }
      return { ok: true, signature: { name, form: 'sigstore-bundle', by: verdict.by } }
    }
    if (!read.isByKey) return { ok: false, reason: read.reason }
    if (keys.length === 0) return { ok: false, reason: read.reason, instead: 'key' }
  }
  const verdict = verifySignature({ payload, signature, keys: [...keys] })
  if (verdict.ok) {
    return { ok: true, signature: { name, form: verdict.form, by: { kind: 'key', key: verdict.key } } }
  }
  const { fault, reason, stranger } = verdict
  return {
    ok: false,
    reason,
    ...(fault === 'certificate' ? { instead: 'certificate' } : {}),
    ...(stranger === undefined ? {} : { stranger: { kind: 'key', name: stranger } }),
  }
}
