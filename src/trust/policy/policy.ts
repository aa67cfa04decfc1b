import type { Identity } from '../identity/identity.ts'
import type { Root } from '../identity/trusted-root.ts'
import type { Digest } from '../../oci/digest.ts'
import type { PublicKey } from '../keys.ts'

/** A policy: who must have signed a bundle, and what the bundle must be. */
export interface Policy {
  /** The file, for messages. */
  source: string
  /** SHA-256 of the file's bytes. */
  digest: Digest
  /** In the order of the file. */
  signers: readonly PolicySigner[]
  /** At least one rule; all of them must hold. */
  require: readonly SignerRule[]
  /** Undefined if the policy names none. */
  trustedRoot: Root | undefined
  bundle: BundleRules
}

/** A person or a system. Counts once, whatever it signed with. */
export interface PolicySigner {
  name: string
  credentials: readonly Credential[]
}

/** A key or an identity by which a signer's signatures are recognised. */
export type Credential = Standing & (KeyCredential | IdentityCredential)

interface KeyCredential {
  kind: 'key'
  key: PublicKey
}

export interface IdentityCredential {
  kind: 'identity'
  identity: Identity
  /** As in the file; a text or a regular expression each. */
  written: {
    identity?: string | undefined
    identityRegexp?: string | undefined
    issuer?: string | undefined
    issuerRegexp?: string | undefined
  }
}

/** The limits of a credential, including those of its signer. Times are in milliseconds since 1970. */
export interface Standing {
  notBefore?: number | undefined
  notAfter?: number | undefined
  revoked?: Revocation | undefined
}

export interface Revocation {
  /** What the file marks as revoked. */
  what: 'signer' | 'key' | 'identity'
  /** As written. */
  date?: string | undefined
  reason?: string | undefined
}

/** How many of these people must have signed. */
export interface SignerRule {
  /** As in the file. */
  text: string
  count: number
  /** Names of signers, each once. */
  members: readonly string[]
}

/** What a bundle must be. Undefined members are not checked. */
export interface BundleRules {
  /** Its name must be one of these. */
  names?: readonly string[] | undefined
  minSequence?: number | undefined
  /** Milliseconds, and as written. */
  maxAge?: { milliseconds: number; text: string } | undefined
  requireExpiry?: boolean | undefined
  /** Patterns of `parsePattern`. */
  sources?: readonly string[] | undefined
  /** In the form of `formatPlatform`. */
  platforms?: readonly string[] | undefined
  allowMirrorDigests?: boolean | undefined
  allowChangedDigests?: boolean | undefined
  allowSkipped?: boolean | undefined
}

/** All public keys in a policy. Includes revoked ones, so that their signatures are not reported as unknown. */
export function keysOf({ signers }: Policy): PublicKey[] {
  return credentialsOf(signers).flatMap((each) => (each.kind === 'key' ? [each.key] : []))
}

/** All identities in a policy, including revoked ones. */
export function identitiesOf({ signers }: Policy): Identity[] {
  return credentialsOf(signers).flatMap((each) => (each.kind === 'identity' ? [each.identity] : []))
}

function credentialsOf(signers: readonly PolicySigner[]): Credential[] {
  return signers.flatMap(({ credentials }) => credentials)
}
