import type { SignedBy } from '../trust/verified.ts'
import type { Authentication } from './authenticate.ts'
import { signersOf, type Signer } from './signers.ts'

/** Who has signed, as documents name them: by a key, or by a certificate. */
export type SignerName = { keyFingerprint: string } | { identity: string; issuer: string }

/** The fields of one signer. */
export function signerName(by: SignedBy): SignerName {
  return by.kind === 'key'
    ? { keyFingerprint: by.key.fingerprint }
    : { identity: by.identity, issuer: by.issuer }
}

/**
 * Who answers for the bundle, as documents have it. By itself, since showing a bundle needs nothing else of what checks
 * or pushes it.
 */
export function authenticationOf(
  authentication: Authentication,
): ({ state: 'signed'; signers: Signer[] } & SignerName) | { state: 'not-checked' } {
  return authentication.state === 'signed'
    ? { state: 'signed', ...signerName(authentication.signatures[0].by), signers: signersOf(authentication) }
    : { state: 'not-checked' }
}
