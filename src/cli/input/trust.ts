import { AirgapError } from '../../errors.ts'
import type { TrustOptions } from '../../index.ts'
import { shellWord } from '../../text.ts'

/** The values of `identityFlags`. */
interface IdentityFlagValues {
  'certificate-identity'?: string | undefined
  'certificate-identity-regexp'?: string | undefined
  'certificate-oidc-issuer'?: string | undefined
  'certificate-oidc-issuer-regexp'?: string | undefined
  'trusted-root'?: string | undefined
}

const ROOT_HINT =
  'That is the trusted_root.json of the Sigstore instance. `airgap trust-root fetch` gets it on the connected side. Carry it here through a different channel than the bundle, and give --trusted-root trusted_root.json.'

/** The flags that were given, as they are typed. */
export function givenIdentityFlags(flags: IdentityFlagValues): string[] {
  const names = [
    'certificate-identity',
    'certificate-identity-regexp',
    'certificate-oidc-issuer',
    'certificate-oidc-issuer-regexp',
    'trusted-root',
  ] as const
  return names.filter((name) => flags[name] !== undefined).map((name) => `--${name}`)
}

/**
 * Whom a certificate must name, and the root to check it with.
 *
 * @returns undefined if no flag is about certificates.
 * @throws AirgapError `USAGE` if a part is missing, given twice or empty.
 */
function identitiesFrom(
  flags: IdentityFlagValues,
): Required<Pick<TrustOptions, 'identities' | 'trustedRoot'>> | undefined {
  const given = givenIdentityFlags(flags)
  if (given.length === 0) return undefined
  const identity = flags['certificate-identity']
  const identityRegexp = flags['certificate-identity-regexp']
  const issuer = flags['certificate-oidc-issuer']
  const issuerRegexp = flags['certificate-oidc-issuer-regexp']
  exclude(identity, identityRegexp, '--certificate-identity')
  exclude(issuer, issuerRegexp, '--certificate-oidc-issuer')
  const hasIdentity = identity !== undefined || identityRegexp !== undefined
  const hasIssuer = issuer !== undefined || issuerRegexp !== undefined
  if (!hasIdentity && !hasIssuer) {
    throw new AirgapError('USAGE', '--trusted-root is given, but not whom a certificate must name', {
      hint: 'Say who signs, and which issuer vouches for it: --certificate-identity builder@example.com --certificate-oidc-issuer https://accounts.example.com',
    })
  }
  if (!hasIdentity) {
    throw new AirgapError('USAGE', `${given[0]} is given, but not whom the certificate must name`, {
      hint: 'An issuer alone vouches for everybody who can log in there. Say who signs: --certificate-identity builder@example.com',
    })
  }
  if (!hasIssuer) {
    throw new AirgapError(
      'USAGE',
      `${given[0]} is given, but not which issuer must vouch for that identity`,
      {
        hint: 'Any issuer can vouch for any name. Say which issuer counts: --certificate-oidc-issuer https://accounts.example.com',
      },
    )
  }
  for (const flag of given) {
    if (flags[flag.slice(2) as keyof IdentityFlagValues] === '') {
      throw new AirgapError('USAGE', `${flag} is empty`, {
        hint: 'Perhaps a shell variable is not set.',
      })
    }
  }
  const trustedRoot = flags['trusted-root']
  if (trustedRoot === undefined) {
    throw new AirgapError('USAGE', `${given[0]} needs a trusted root to check certificates with`, {
      hint: ROOT_HINT,
    })
  }
  return { identities: [{ identity, identityRegexp, issuer, issuerRegexp }], trustedRoot }
}

function exclude(exact: string | undefined, pattern: string | undefined, flag: string): void {
  if (exact === undefined || pattern === undefined) return
  throw new AirgapError('USAGE', `${flag} and ${flag}-regexp cannot be used together`, {
    hint: 'Give either the whole text or a regular expression that matches all of it.',
  })
}

/** The values of `trustFlags`. */
export interface TrustFlagValues extends IdentityFlagValues {
  key?: string[] | undefined
  signature?: string[] | undefined
  policy?: string | undefined
  upstream?: boolean | undefined
  'upstream-policy'?: string[] | undefined
  'expect-digest'?: string | undefined
  'expect-name'?: string | undefined
  'min-sequence'?: number | undefined
}

/**
 * What the caller trusts, from the flags.
 *
 * @param unauthenticated the command's flag for accepting a bundle without checking who signed it.
 * @throws AirgapError `USAGE` if the flags name no signer, or name one together with that flag.
 */
export function trustFrom(
  flags: TrustFlagValues,
  unauthenticated: { flag: string; isSet: boolean },
): TrustOptions {
  const keys = flags.key ?? []
  if (flags.policy !== undefined) return trustOfPolicy({ ...flags, policy: flags.policy }, unauthenticated)
  // The same root is for the certificates of upstreams.
  const isForUpstream = flags.upstream === true || (flags['upstream-policy'] ?? []).length > 0
  const { 'trusted-root': trustedRoot, ...others } = flags
  const identityFlags = isForUpstream && givenIdentityFlags(others).length === 0 ? others : flags
  const [given] = [...(keys.length > 0 ? ['--key'] : []), ...givenIdentityFlags(identityFlags)]
  if (given !== undefined && unauthenticated.isSet) {
    throw new AirgapError('USAGE', `${given} and ${unauthenticated.flag} cannot be used together`)
  }
  if ((flags.signature ?? []).length > 0 && given === undefined) {
    throw new AirgapError('USAGE', '--signature needs a --key to check it with', {
      hint: 'For a signature with a certificate, give --certificate-identity, --certificate-oidc-issuer and --trusted-root. Or give a --policy that names the signers.',
    })
  }
  if (given === undefined && !unauthenticated.isSet) {
    throw new AirgapError('USAGE', 'no key is given to check the bundle with', {
      hint: `Give the public key of the packer, which must come through a different channel than the bundle: --key airgap.pub. For a bundle signed with a certificate: --certificate-identity, --certificate-oidc-issuer and --trusted-root. If several people must sign: --policy FILE. To accept a bundle from anybody: ${unauthenticated.flag}.`,
    })
  }
  return {
    keys,
    trustedRoot,
    ...identitiesFrom(identityFlags),
    unauthenticated: unauthenticated.isSet,
    ...expectations(flags),
  }
}

const PASTED = [
  'key',
  'policy',
  'signature',
  'certificate-identity',
  'certificate-identity-regexp',
  'certificate-oidc-issuer',
  'certificate-oidc-issuer-regexp',
  'trusted-root',
  'upstream-policy',
  'expect-digest',
  'expect-name',
  'min-sequence',
] as const

/** The same flags, to paste after another command; `undefined` if they name nobody. */
export function trustWords(flags: TrustFlagValues): string | undefined {
  if (flags.policy === undefined && !flags.key?.length && givenIdentityFlags(flags).length === 0)
    return undefined
  return PASTED.flatMap((name) => {
    const value = flags[name]
    const values = Array.isArray(value) ? value : value === undefined ? [] : [String(value)]
    return values.map((text) => `--${name} ${shellWord(text)}`)
  }).join(' ')
}

function expectations(
  flags: TrustFlagValues,
): Pick<TrustOptions, 'signatures' | 'expectDigest' | 'expectName' | 'minSequence'> {
  return {
    signatures: flags.signature,
    expectDigest: flags['expect-digest'],
    expectName: flags['expect-name'],
    minSequence: flags['min-sequence'],
  }
}

/** A policy names its signers; a key in addition could only weaken it. */
function trustOfPolicy(
  flags: TrustFlagValues & { policy: string },
  unauthenticated: { flag: string; isSet: boolean },
): TrustOptions {
  if (unauthenticated.isSet) {
    throw new AirgapError('USAGE', `--policy and ${unauthenticated.flag} cannot be used together`)
  }
  const [given] = [
    ...((flags.key ?? []).length > 0 ? ['--key'] : []),
    ...givenIdentityFlags({ ...flags, 'trusted-root': undefined }),
  ]
  if (given !== undefined) {
    throw new AirgapError('USAGE', `--policy and ${given} cannot be used together`, {
      hint: 'The policy names its signers: add this one there, or leave the policy out.',
    })
  }
  return { policy: flags.policy, trustedRoot: flags['trusted-root'], ...expectations(flags) }
}
