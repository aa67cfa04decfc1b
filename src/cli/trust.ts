import { AirgapError } from '../errors.ts'
import type { Trust } from '../library/trust.ts'

/** The values of `trustFlags`. */
export interface TrustFlagValues {
  key?: string[] | undefined
  signature?: string[] | undefined
  policy?: string | undefined
  'expect-digest'?: string | undefined
  'expect-name'?: string | undefined
  'min-sequence'?: number | undefined
}

/**
 * What the caller trusts, from the flags alone.
 *
 * @param unauthenticated the command's flag for doing without a signature.
 * @throws AirgapError `USAGE` when neither is given, or both.
 */
export function trustFrom(flags: TrustFlagValues, unauthenticated: { flag: string; isSet: boolean }): Trust {
  const keys = flags.key ?? []
  if (flags.policy !== undefined) return trustOfPolicy({ ...flags, policy: flags.policy }, unauthenticated)
  if (keys.length > 0 && unauthenticated.isSet) {
    throw new AirgapError('USAGE', `--key and ${unauthenticated.flag} exclude each other`)
  }
  if (keys.length === 0 && !unauthenticated.isSet) {
    throw new AirgapError('USAGE', 'no key is given to check the bundle with', {
      hint: `Give the public key that the packer handed over by another way: --key airgap.pub. Without one nobody knows who made the bundle; if that is all right, say so with ${unauthenticated.flag}. Where several people have to sign: --policy FILE.`,
    })
  }
  if ((flags.signature ?? []).length > 0 && keys.length === 0) {
    throw new AirgapError('USAGE', '--signature needs the --key that it is to be checked with')
  }
  return {
    keys,
    unauthenticated: unauthenticated.isSet,
    ...expectations(flags),
  }
}

function expectations(
  flags: TrustFlagValues,
): Pick<Trust, 'signatures' | 'expectDigest' | 'expectName' | 'minSequence'> {
  return {
    signatures: flags.signature,
    expectDigest: flags['expect-digest'],
    expectName: flags['expect-name'],
    minSequence: flags['min-sequence'],
  }
}

/** A policy names its signers: a key beside it could only weaken it. */
function trustOfPolicy(
  flags: TrustFlagValues & { policy: string },
  unauthenticated: { flag: string; isSet: boolean },
): Trust {
  if (unauthenticated.isSet) {
    throw new AirgapError('USAGE', `--policy and ${unauthenticated.flag} exclude each other`)
  }
  if ((flags.key ?? []).length > 0) {
    throw new AirgapError('USAGE', '--policy and --key exclude each other', {
      hint: 'The policy names its signers: write the key into it, or leave the policy out.',
    })
  }
  return { policy: flags.policy, ...expectations(flags) }
}
