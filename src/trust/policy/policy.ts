import type { Identity } from '../identity/identity.ts'
import type { Root } from '../identity/trusted-root.ts'
import type { Digest } from '../../oci/digest.ts'
import type { PublicKey } from '../keys.ts'

/** A policy file that was read: who has to have signed a bundle, and what it has to be. */
export interface Policy {
  /** The file, for messages. */
  source: string
  /** Of the file's bytes. */
  digest: Digest
  /** In the order of the file. */
  signers: readonly PolicySigner[]
  /** Every one of these has to hold; at least one. */
  require: readonly SignerRule[]
  /** Where the policy names one. */
  trustedRoot: Root | undefined
  bundle: BundleRules
}

/** A person or a system: counts once, whatever it has signed with. */
export interface PolicySigner {
  name: string
  credentials: readonly Credential[]
}

/** What a signer's signatures are told by. */
export type Credential = Standing & (KeyCredential | IdentityCredential)

interface KeyCredential {
  kind: 'key'
  key: PublicKey
}

export interface IdentityCredential {
  kind: 'identity'
  identity: Identity
  /** As the file has it; a text or a regular expression each. */
  written: {
    identity?: string | undefined
    identityRegexp?: string | undefined
    issuer?: string | undefined
    issuerRegexp?: string | undefined
  }
}

/** What limits a credential; the signer's own limits are in it. Milliseconds since 1970. */
export interface Standing {
  notBefore?: number | undefined
  notAfter?: number | undefined
  revoked?: Revocation | undefined
}

export interface Revocation {
  /** What it was written beside. */
  what: 'signer' | 'key' | 'identity'
  /** As written. */
  date?: string | undefined
  reason?: string | undefined
}

/** So many of these people have to have signed. */
export interface SignerRule {
  /** As the file has it. */
  text: string
  count: number
  /** Names of signers, each once. */
  members: readonly string[]
}

/** What a bundle has to be; what is undefined is not asked for. */
export interface BundleRules {
  /** It has one of these names. */
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

/** All public keys that a policy names, revoked ones too, so that their signatures can be told from strangers'. */
export function keysOf({ signers }: Policy): PublicKey[] {
  return credentialsOf(signers).flatMap((each) => (each.kind === 'key' ? [each.key] : []))
}

/** All identities that a policy names, revoked ones too. */
export function identitiesOf({ signers }: Policy): Identity[] {
  return credentialsOf(signers).flatMap((each) => (each.kind === 'identity' ? [each.identity] : []))
}

function credentialsOf(signers: readonly PolicySigner[]): Credential[] {
  return signers.flatMap(({ credentials }) => credentials)
}
