import { AirgapError } from '../errors.ts'
import type { Trust } from '../library/trust.ts'
import { givenIdentityFlags, identitiesFrom, type IdentityFlagValues } from './identity-flags.ts'

/** The values of `trustFlags`. */
export interface TrustFlagValues extends IdentityFlagValues {
  key?: string[] | undefined
  signature?: string[] | undefined
  'expect-digest'?: string | undefined
  'expect-name'?: string | undefined
  'min-sequence'?: number | undefined
}

/**
 * What the caller trusts, from the flags alone.
 *
 * @param unauthenticated the command's flag for doing without a signature.
 * @throws AirgapError `USAGE` when nobody is named whose signature counts, or somebody together with that flag.
 */
export function trustFrom(flags: TrustFlagValues, unauthenticated: { flag: string; isSet: boolean }): Trust {
  const keys = flags.key ?? []
  const [given] = [...(keys.length > 0 ? ['--key'] : []), ...givenIdentityFlags(flags)]
  if (given !== undefined && unauthenticated.isSet) {
    throw new AirgapError('USAGE', `${given} and ${unauthenticated.flag} exclude each other`)
  }
  if ((flags.signature ?? []).length > 0 && given === undefined) {
    throw new AirgapError('USAGE', '--signature needs the --key that it is to be checked with', {
      hint: 'Or, for a signature by a certificate: --certificate-identity, --certificate-oidc-issuer and --trusted-root.',
    })
  }
  if (given === undefined && !unauthenticated.isSet) {
    throw new AirgapError('USAGE', 'no key is given to check the bundle with', {
      hint: `Give the public key that the packer handed over by another way: --key airgap.pub; or, where it is signed with a certificate, --certificate-identity, --certificate-oidc-issuer and --trusted-root. Without any nobody knows who made the bundle; if that is all right, say so with ${unauthenticated.flag}.`,
    })
  }
  return {
    keys,
    ...identitiesFrom(flags),
    unauthenticated: unauthenticated.isSet,
    signatures: flags.signature,
    expectDigest: flags['expect-digest'],
    expectName: flags['expect-name'],
    minSequence: flags['min-sequence'],
  }
}
