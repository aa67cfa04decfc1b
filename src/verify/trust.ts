import { AirgapError } from '../errors.ts'
import { readSmallFile } from '../files/small-file.ts'
import { type Digest, digestFault, isDigest } from '../oci/digest.ts'
import type { Trust } from './authenticate.ts'
import type { IdentityOptions } from '../trust/identity/identity.ts'
import type { Root } from '../trust/identity/trusted-root.ts'
import type { PublicKey } from '../trust/keys.ts'
import type { Policy, SignerRule } from '../trust/policy/policy.ts'

/** What the caller trusts, and expects of a bundle. Nothing in the bundle adds to it. */
export interface TrustOptions {
  /** Public keys, or PEM files with them. A signature by any one of them is enough. */
  keys?: readonly (PublicKey | string)[] | undefined
  /** Accepted identities of certificates with their issuers. A signature by any one of them is enough, too. */
  identities?: readonly IdentityOptions[] | undefined
  /**
   * The trusted root to check certificates with: a file (trusted_root.json), or one that was read already. Required
   * with `identities`.
   */
  trustedRoot?: string | Root | undefined
  /**
   * Who has to have signed, and what the bundle has to be: a policy file, or one that was read already. It names the
   * signers, so it excludes `keys` and `identities`. Give `trustedRoot` with it if it names identities and no root.
   */
  policy?: Policy | string | undefined
  /** Check no signature: then nobody knows who made the bundle. Excludes `keys`, `identities` and `policy`. */
  unauthenticated?: boolean | undefined
  /** Files with detached signatures over `SHA256SUMS`, tried after the bundle's own. */
  signatures?: readonly string[] | undefined
  /** The bundle digest that was approved, with or without `sha256:`. */
  expectDigest?: string | undefined
  /** The bundle's name. */
  expectName?: string | undefined
  /** The lowest accepted sequence. A bundle with a lower one is refused. */
  minSequence?: number | undefined
}

const MAX_SIGNATURE_FILE = 1024 * 1024

/**
 * Reads the keys, roots and signatures that a caller names.
 * @throws AirgapError `USAGE` if neither signers nor `unauthenticated` are given, or both, if identities are given without
 *   a trusted root, or if the minimum sequence is not a whole number; `FILE`, `INVALID_KEY`, `INVALID_DIGEST`,
 *   `INVALID_CONTENT`, `INVALID_POLICY`
 */
export async function readTrust(trust: TrustOptions): Promise<Trust> {
  const { keys = [], identities = [], signatures = [], unauthenticated = false } = trust
  const hasSigners = keys.length > 0 || identities.length > 0 || trust.policy !== undefined
  // JavaScript callers can pass any value for `unauthenticated`; it must never replace keys.
  if (hasSigners ? unauthenticated : !unauthenticated) {
    throw new AirgapError(
      'USAGE',
      'a bundle is checked either with keys, identities or a policy, or explicitly unauthenticated',
    )
  }
  if (identities.length > 0 && trust.trustedRoot === undefined) {
    throw new AirgapError('USAGE', 'certificates are checked with a trusted root, but none is given')
  }
  const { minSequence } = trust
  if (minSequence !== undefined && !(Number.isSafeInteger(minSequence) && minSequence >= 0)) {
    throw new AirgapError('USAGE', `the minimum sequence, ${minSequence}, is not a whole number`)
  }
  const policy = trust.policy === undefined ? undefined : await readPolicyTrust(trust.policy, trust)
  const { readPublicKey } = await import('../trust/keys.ts')
  const { parseDetachedSignature } = await import('../trust/detached.ts')
  return {
    keys: await Promise.all(keys.map(async (key) => (typeof key === 'string' ? readPublicKey(key) : key))),
    ...(trust.trustedRoot === undefined ? {} : await readIdentities(identities, trust.trustedRoot)),
    ...policy,
    unauthenticated,
    signatures: await Promise.all(
      signatures.map(async (file) => ({
        file,
        signature: parseDetachedSignature(await readSmallFile(file, MAX_SIGNATURE_FILE), file),
      })),
    ),
    expectDigest: parseExpectedDigest(trust.expectDigest),
    expectName: trust.expectName,
    minSequence,
    now: Date.now(),
  }
}

async function readIdentities(
  identities: readonly IdentityOptions[],
  trustedRoot: string | Root,
): Promise<Pick<Trust, 'identities' | 'root'>> {
  const { identityFrom } = await import('../trust/identity/identity.ts')
  const { readTrustedRoot } = await import('../trust/identity/trusted-root.ts')
  return {
    identities: identities.map(identityFrom),
    root: typeof trustedRoot === 'string' ? await readTrustedRoot(trustedRoot) : trustedRoot,
  }
}

/** Accepts what people paste: with or without `sha256:`, in upper or lower case. */
function parseExpectedDigest(text: string | undefined): Digest | undefined {
  if (text === undefined) return undefined
  const digest = `sha256:${text
    .trim()
    .toLowerCase()
    .replace(/^sha256:/, '')}`
  if (isDigest(digest)) return digest
  throw new AirgapError(
    'INVALID_DIGEST',
    `the expected bundle digest, ${text}, is not a digest: ${digestFault(digest)}`,
  )
}

/**
 * The trust that a policy defines: everybody it names, and its rules about who has to have signed.
 * @throws AirgapError `USAGE` if signers are given beside it, or if the trusted root is missing or given twice; `FILE`,
 *   `INVALID_POLICY`
 */
async function readPolicyTrust(
  given: Policy | string,
  { keys = [], identities = [], trustedRoot }: TrustOptions,
): Promise<Pick<Trust, 'policy' | 'keys' | 'identities' | 'root'>> {
  if (keys.length > 0 || identities.length > 0) {
    throw new AirgapError('USAGE', 'a policy names its signers, but keys or identities are given beside it', {
      hint: 'Give one or the other: name the signers in the policy.',
    })
  }
  const { identitiesOf, keysOf } = await import('../trust/policy/policy.ts')
  const { readPolicy } = await import('../trust/policy/read.ts')
  const policy = typeof given === 'string' ? await readPolicy(given) : given
  requireRules(policy)
  const named = identitiesOf(policy)
  if (policy.trustedRoot && trustedRoot !== undefined) {
    throw new AirgapError(
      'USAGE',
      `the policy ${policy.source} names its trusted root, ${policy.trustedRoot.source}, but ${typeof trustedRoot === 'string' ? trustedRoot : trustedRoot.source} is given, too`,
      { hint: 'Remove one of them, so that it is clear which one counts.' },
    )
  }
  if (named.length > 0 && !policy.trustedRoot && trustedRoot === undefined) {
    throw new AirgapError(
      'USAGE',
      `the policy ${policy.source} names identities, which are checked with a trusted root, but none is given`,
      { hint: ['Write trustedRoot: FILE into the policy, or name the file.', { id: 'trusted-root' }] },
    )
  }
  return {
    policy,
    keys: keysOf(policy),
    identities: named,
    ...(policy.trustedRoot ? { root: policy.trustedRoot } : {}),
  }
}

/**
 * Checks a policy's rules about signers. One that a program put together may lack what every policy file has.
 * @throws AirgapError `INVALID_POLICY` if it has no such rule, or if fewer people could fulfil one than it seems to require.
 */
function requireRules({ source, require }: Policy): void {
  const isRule = ({ count, members }: SignerRule): boolean =>
    Number.isSafeInteger(count) && count >= 1 && count <= members.length && isEachOnce(members)
  if (require.length > 0 && require.every(isRule)) return
  throw new AirgapError(
    'INVALID_POLICY',
    `the policy ${source} has no rule about who has to sign, or a rule that names too few people or one of them twice`,
  )
}

function isEachOnce(members: readonly string[]): boolean {
  return new Set(members).size === members.length
}
