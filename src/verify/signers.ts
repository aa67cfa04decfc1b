import * as v from 'valibot'
import { described, digest, instant, keyFingerprint, type Known } from '../bundle/fields.ts'
import type { SignedBy, VerifiedSignature } from '../trust/verified.ts'
import type { Authentication } from './authenticate.ts'

export const identityName = described(
  v.string(),
  'The identity in the certificate, if the signature was made with one',
)
export const issuerName = described(v.string(), 'Who vouches for that identity')

/** One good signature, in documents. */
export const SignerSchema = v.object({
  keyFingerprint: v.optional(keyFingerprint),
  keyFile: v.optional(described(v.string(), 'The file of the key used to check it')),
  identity: v.optional(identityName),
  issuer: v.optional(issuerName),
  signature: described(v.string(), 'The entry of the bundle or the file with the signature'),
  signedAt: v.optional(
    described(
      instant,
      'The earliest time at which a log or a timestamp authority saw it; only for a signature by a certificate',
    ),
  ),
  logId: v.optional(described(v.string(), "SHA-256 of the transparency log's public key, hexadecimal")),
  logIndex: v.optional(
    described(v.string(), 'The index of its entry in that log; text, because it can exceed 2^53'),
  ),
  trustedRoot: v.optional(
    described(v.object({ file: v.string(), digest }), 'The trusted root used to check the certificate'),
  ),
})
export type Signer = Known<v.InferOutput<typeof SignerSchema>>

/** Every good signature; the first one counts as the main one. */
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

/** How documents name a signer: by key, or by the identity in a certificate. */
type SignerName = { keyFingerprint: string } | { identity: string; issuer: string }

export function signerName(by: SignedBy): SignerName {
  return by.kind === 'key'
    ? { keyFingerprint: by.key.fingerprint }
    : { identity: by.identity, issuer: by.issuer }
}

/**
 * Who signed the bundle, in documents. This file loads none of the code that checks signatures, because showing a bundle
 * needs none.
 */
export function authenticationOf(
  authentication: Authentication,
): ({ state: 'signed'; signers: Signer[] } & SignerName) | { state: 'not-checked' } {
  return authentication.state === 'signed'
    ? { state: 'signed', ...signerName(authentication.signatures[0].by), signers: signersOf(authentication) }
    : { state: 'not-checked' }
}
