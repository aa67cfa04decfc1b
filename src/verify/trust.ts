import { AirgapError } from '../errors.ts'
import { readSmallFile } from '../files/small-file.ts'
import { type Digest, digestFault, isDigest } from '../oci/digest.ts'
import type { Trust } from './authenticate.ts'
import type { IdentityOptions } from '../trust/identity/identity.ts'
import type { Root } from '../trust/identity/trusted-root.ts'
import type { PublicKey } from '../trust/keys.ts'
import type { Policy, SignerRule } from '../trust/policy/policy.ts'

/** What the caller trusts and expects of a bundle. Nothing in the bundle adds to it. */
export interface TrustOptions {
  /** Public keys, or the PEM files that hold them. A signature by any one of them suffices. */
  keys?: readonly (PublicKey | string)[] | undefined
  /** Whom a certificate may name, and who may have vouched for it. A signature by any one of them suffices, too. */
  identities?: readonly IdentityOptions[] | undefined
  /**
   * The trusted root that certificates are checked with: a file (trusted_root.json), or one that was read already. Needed
   * with `identities`.
   */
  trustedRoot?: string | Root | undefined
  /**
   * Who has to have signed, and what the bundle has to be: a policy file, or one that was read. It names its signers, and
   * excludes `keys` and `identities`; `trustedRoot` goes with it where it names none.
   */
  policy?: Policy | string | undefined
  /** Do without a signature: then nobody knows who made the bundle. Excludes `keys`, `identities` and `policy`. */
  unauthenticated?: boolean | undefined
  /** Files with detached signatures over `SHA256SUMS`, tried after the bundle's own. */
  signatures?: readonly string[] | undefined
  /** The bundle digest that was approved, with or without `sha256:`. */
  expectDigest?: string | undefined
  /** The bundle's name. */
  expectName?: string | undefined
  /** The lowest sequence that is accepted: an older bundle of that name is refused. */
  minSequence?: number | undefined
}

const MAX_SIGNATURE_FILE = 1024 * 1024

/**
 * Reads the keys, roots and signatures that a caller names.
 * @throws AirgapError `USAGE` when there is nobody whose signature counts and no `unauthenticated`, or both, when
 *   identities are given without a trusted root, and for a least sequence that is no whole number; `FILE`, `INVALID_KEY`,
 *   `INVALID_DIGEST`, `INVALID_CONTENT`, `INVALID_POLICY`
 */
export async function readTrust(trust: TrustOptions): Promise<Trust> {
  const { keys = [], identities = [], signatures = [], unauthenticated = false } = trust
  const hasSigners = keys.length > 0 || identities.length > 0 || trust.policy !== undefined
  // From JavaScript it may be anything, and must never take the place of keys.
  if (hasSigners ? unauthenticated : !unauthenticated) {
    throw new AirgapError(
      'USAGE',
      'a bundle is checked either with keys or identities or, by name, unauthenticated',
    )
  }
  if (identities.length > 0 && trust.trustedRoot === undefined) {
    throw new AirgapError('USAGE', 'certificates are checked with a trusted root, and none is given')
  }
  const { minSequence } = trust
  if (minSequence !== undefined && !(Number.isSafeInteger(minSequence) && minSequence >= 0)) {
    throw new AirgapError('USAGE', `the least sequence that is accepted, ${minSequence}, is no whole number`)
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

/** With or without `sha256:`, in either case of letters, as people paste it. */
function parseExpectedDigest(text: string | undefined): Digest | undefined {
  if (text === undefined) return undefined
  const digest = `sha256:${text
    .trim()
    .toLowerCase()
    .replace(/^sha256:/, '')}`
  if (isDigest(digest)) return digest
  throw new AirgapError(
    'INVALID_DIGEST',
    `the bundle digest that is expected, ${text}, is none: ${digestFault(digest)}`,
  )
}

/**
 * Whom a policy trusts, in the terms of the check: all that it names, and which of them have to have signed.
 * @throws AirgapError `USAGE` when signers are named beside it, or where the trusted root is missing or given twice;
 *   `FILE`, `INVALID_POLICY`
 */
async function readPolicyTrust(
  given: Policy | string,
  { keys = [], identities = [], trustedRoot }: TrustOptions,
): Promise<Pick<Trust, 'policy' | 'keys' | 'identities' | 'root'>> {
  if (keys.length > 0 || identities.length > 0) {
    throw new AirgapError('USAGE', 'a policy names its signers, and keys or identities are given beside it', {
      hint: 'Give one or the other: write who signs into the policy.',
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
      `the policy ${policy.source} names its trusted root, ${policy.trustedRoot.source}, and ${typeof trustedRoot === 'string' ? trustedRoot : trustedRoot.source} is given besides`,
      { hint: 'Take one of them out, so that it is plain which one counts.' },
    )
  }
  if (named.length > 0 && !policy.trustedRoot && trustedRoot === undefined) {
    throw new AirgapError(
      'USAGE',
      `the policy ${policy.source} names identities, which are checked with a trusted root, and none is given`,
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
 * One that was put together by hand may lack what every file has.
 * @throws AirgapError `INVALID_POLICY` where fewer people would do than it seems to ask for.
 */
function requireRules({ source, require }: Policy): void {
  const isRule = ({ count, members }: SignerRule): boolean =>
    Number.isSafeInteger(count) && count >= 1 && count <= members.length && isEachOnce(members)
  if (require.length > 0 && require.every(isRule)) return
  throw new AirgapError(
    'INVALID_POLICY',
    `the policy ${source} has no rule who has to sign, or one that names too few people or one of them twice`,
  )
}

function isEachOnce(members: readonly string[]): boolean {
  return new Set(members).size === members.length
}
