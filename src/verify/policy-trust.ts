import { AirgapError } from '../errors.ts'
import type { TrustOptions } from './authenticate.ts'
import type { Policy, SignerRule } from '../trust/policy/policy.ts'
import type { Trust } from './trust.ts'

/**
 * Whom a policy trusts, in the terms of the check: all that it names, and which of them have to have signed.
 * @throws AirgapError `USAGE` when signers are named beside it, or where the trusted root is missing or given twice;
 *   `FILE`, `INVALID_POLICY`
 */
export async function readPolicyTrust(
  given: Policy | string,
  { keys = [], identities = [], trustedRoot }: Trust,
): Promise<Pick<TrustOptions, 'policy' | 'keys' | 'identities' | 'root'>> {
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
      { hint: 'Write trustedRoot: FILE into the policy, or give --trusted-root FILE.' },
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
