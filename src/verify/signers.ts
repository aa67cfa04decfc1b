import * as v from 'valibot'
import { described, digest, instant, keyFingerprint, type Known } from '../bundle/fields.ts'
import type { SignedBy, VerifiedSignature } from '../trust/verified.ts'
import type { Authentication } from './authenticate.ts'

export const identityName = described(
  v.string(),
  'Whom the certificate names, where the signature was made with one',
)
export const issuerName = described(v.string(), 'Who has vouched for that identity')

/** One good signature, as documents have it. */
export const SignerSchema = v.object({
  keyFingerprint: v.optional(keyFingerprint),
  keyFile: v.optional(described(v.string(), 'The file of the key that the signature was checked with')),
  identity: v.optional(identityName),
  issuer: v.optional(issuerName),
  signature: described(v.string(), 'Where the signature is: an entry of the bundle, or a file given'),
  signedAt: v.optional(
    described(
      instant,
      'The earliest time at which a log or a timestamp authority has seen it; only of one by a certificate',
    ),
  ),
  logId: v.optional(described(v.string(), "SHA-256 of the transparency log's public key, hexadecimal")),
  logIndex: v.optional(
    described(v.string(), 'The place of its entry in that log; as a text, since it can be beyond 2^53'),
  ),
  trustedRoot: v.optional(
    described(
      v.object({ file: v.string(), digest }),
      'The trusted root that the certificate was checked with',
    ),
  ),
})
export type Signer = Known<v.InferOutput<typeof SignerSchema>>

/** Every good signature; the first one leads. */
export function signersOf(authentication: Authentication): Signer[] {
  return authentication.state === 'signed' ? authentication.signatures.map(signerOf) : []
}

function signerOf({ by, name }: VerifiedSignature): Signer {
  if (by.kind === 'key') {
    return { keyFingerprint: by.key.fingerprint, keyFile: by.key.source, signature: name }
  }
  const { identity, issuer, times, root } = by
  const [entry] = by.logEntries
  return {
    identity,
    issuer,
    signature: name,
    ...(times.length > 0 ? { signedAt: new Date(Math.min(...times)).toISOString() } : {}),
    ...(entry ? { logId: entry.logId, logIndex: entry.logIndex } : {}),
    trustedRoot: { file: root.source, digest: root.digest },
  }
}

/** Who has signed, as documents name them: by a key, or by a certificate. */
type SignerName = { keyFingerprint: string } | { identity: string; issuer: string }

/** The fields of one signer. */
export function signerName(by: SignedBy): SignerName {
  return by.kind === 'key'
    ? { keyFingerprint: by.key.fingerprint }
    : { identity: by.identity, issuer: by.issuer }
}

/**
 * Who answers for the bundle, as documents have it. Showing a bundle loads this file, and none of what checks signatures.
 */
export function authenticationOf(
  authentication: Authentication,
): ({ state: 'signed'; signers: Signer[] } & SignerName) | { state: 'not-checked' } {
  return authentication.state === 'signed'
    ? { state: 'signed', ...signerName(authentication.signatures[0].by), signers: signersOf(authentication) }
    : { state: 'not-checked' }
}
