import type { Bundle } from '@sigstore/bundle'
import { toSignedEntity } from '@sigstore/verify'
import { AirgapError } from '../../errors.ts'
import type { TokenClaims } from './identity-token.ts'

/** Whom a certificate of Fulcio names. */
export interface CertifiedIdentity {
  /** The subject alternative name: an e-mail address or a URL. */
  identity: string
  /** The issuer of the identity token. */
  issuer: string
}

/** Fulcio's extensions for the issuer (fulcio, docs/oid-info.md): a DER UTF8String, and the same as bare bytes. */
const ISSUER = '1.3.6.1.4.1.57264.1.8'
const OLD_ISSUER = '1.3.6.1.4.1.57264.1.1'

/**
 * Whom the certificate of a bundle names.
 * @throws AirgapError `CONTENT_MISMATCH` if it names nobody.
 */
export function certifiedIdentity(bundle: Bundle, signed: Uint8Array): CertifiedIdentity {
  const { key } = toSignedEntity(bundle, Buffer.from(signed))
  if (key.$case === 'certificate') {
    const { certificate } = key
    const identity = certificate.subjectAltName
    const issuer =
      certificate.extension(ISSUER)?.valueObj.subs[0]?.value.toString('utf8') ??
      certificate.extension(OLD_ISSUER)?.value.toString('utf8')
    if (identity !== undefined && identity !== '' && issuer !== undefined) return { identity, issuer }
  }
  throw new AirgapError('CONTENT_MISMATCH', 'the certificate from Fulcio names nobody')
}

/**
 * Requires that a certificate names the same identity as the token, as far as it is known how Fulcio writes it.
 * @throws AirgapError `CONTENT_MISMATCH`
 */
export function checkIdentity({ identity, issuer }: CertifiedIdentity, claims: TokenClaims): void {
  const { expectedIdentity, expectedIssuers } = claims
  const fail = (what: string, found: string, expected: string): never => {
    throw new AirgapError(
      'CONTENT_MISMATCH',
      `the certificate from Fulcio names another ${what} than the identity token: ${found} instead of ${expected}`,
      {
        hint: 'Nothing was written to the log. Check the URL of Fulcio, and its configuration for this issuer.',
      },
    )
  }
  if (!expectedIssuers.includes(issuer)) fail('issuer', issuer, expectedIssuers.join(' or '))
  if (expectedIdentity !== undefined && identity !== expectedIdentity) {
    fail('identity', identity, expectedIdentity)
  }
}
