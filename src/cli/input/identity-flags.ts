import { AirgapError } from '../../errors.ts'
import type { Trust } from '../../verify/trust.ts'

/** The values of `identityFlags`. */
export interface IdentityFlagValues {
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
export function identitiesFrom(
  flags: IdentityFlagValues,
): Required<Pick<Trust, 'identities' | 'trustedRoot'>> | undefined {
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
