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
  'It is the trusted_root.json of the instance that signs: `airgap trust-root fetch` brings it on the connected side. Carry it here by another way than the bundle, and give --trusted-root trusted_root.json.'

/** Which of the flags were given, as they are typed. */
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
 * Whom a certificate has to name, and with which root that is checked.
 *
 * @returns nothing when no flag speaks of certificates.
 * @throws AirgapError `USAGE` when a part is missing, doubled or empty.
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
    throw new AirgapError('USAGE', '--trusted-root is there, and nobody whom a certificate has to name', {
      hint: 'Say who signs, and who vouches for that: --certificate-identity builder@example.com --certificate-oidc-issuer https://accounts.example.com',
    })
  }
  if (!hasIdentity) {
    throw new AirgapError('USAGE', `${given[0]} is there, and not whom the certificate has to name`, {
      hint: 'An issuer alone vouches for everybody who can log in there. Say who signs: --certificate-identity builder@example.com',
    })
  }
  if (!hasIssuer) {
    throw new AirgapError('USAGE', `${given[0]} is there, and not who has to vouch for that name`, {
      hint: 'The same name can be had from any issuer. Say which one counts: --certificate-oidc-issuer https://accounts.example.com',
    })
  }
  for (const flag of given) {
    if (flags[flag.slice(2) as keyof IdentityFlagValues] === '') {
      throw new AirgapError('USAGE', `${flag} is empty`, {
        hint: 'Is a variable of the shell not set that should be in it?',
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
  throw new AirgapError('USAGE', `${flag} and ${flag}-regexp exclude each other`, {
    hint: 'Give the whole text, or a regular expression that has to fit the whole.',
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
 * What the caller trusts, from the flags alone.
 *
 * @param unauthenticated the command's flag for doing without a signature.
 * @throws AirgapError `USAGE` when nobody is named whose signature counts, or somebody together with that flag.
 */
export function trustFrom(
  flags: TrustFlagValues,
  unauthenticated: { flag: string; isSet: boolean },
): TrustOptions {
  const keys = flags.key ?? []
  if (flags.policy !== undefined) return trustOfPolicy({ ...flags, policy: flags.policy }, unauthenticated)
  // Upstreams' certificates are checked with the same root.
  const isForUpstream = flags.upstream === true || (flags['upstream-policy'] ?? []).length > 0
  const { 'trusted-root': trustedRoot, ...others } = flags
  const identityFlags = isForUpstream && givenIdentityFlags(others).length === 0 ? others : flags
  const [given] = [...(keys.length > 0 ? ['--key'] : []), ...givenIdentityFlags(identityFlags)]
  if (given !== undefined && unauthenticated.isSet) {
    throw new AirgapError('USAGE', `${given} and ${unauthenticated.flag} exclude each other`)
  }
  if ((flags.signature ?? []).length > 0 && given === undefined) {
    throw new AirgapError('USAGE', '--signature needs the --key that it is to be checked with', {
      hint: 'Or, for a signature by a certificate: --certificate-identity, --certificate-oidc-issuer and --trusted-root; or the --policy that names who signs.',
    })
  }
  if (given === undefined && !unauthenticated.isSet) {
    throw new AirgapError('USAGE', 'no key is given to check the bundle with', {
      hint: `Give the public key that the packer handed over by another way: --key airgap.pub; or, where it is signed with a certificate, --certificate-identity, --certificate-oidc-issuer and --trusted-root. Without any nobody knows who made the bundle; if that is all right, say so with ${unauthenticated.flag}. Where several people have to sign: --policy FILE.`,
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

/** The same flags again, to be pasted behind another command; `undefined` where they name nobody. */
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

/** A policy names its signers: a key beside it could only weaken it. */
function trustOfPolicy(
  flags: TrustFlagValues & { policy: string },
  unauthenticated: { flag: string; isSet: boolean },
): TrustOptions {
  if (unauthenticated.isSet) {
    throw new AirgapError('USAGE', `--policy and ${unauthenticated.flag} exclude each other`)
  }
  const [given] = [
    ...((flags.key ?? []).length > 0 ? ['--key'] : []),
    ...givenIdentityFlags({ ...flags, 'trusted-root': undefined }),
  ]
  if (given !== undefined) {
    throw new AirgapError('USAGE', `--policy and ${given} exclude each other`, {
      hint: 'The policy names its signers: write it there, or leave the policy out.',
    })
  }
  return { policy: flags.policy, trustedRoot: flags['trusted-root'], ...expectations(flags) }
}
