import type { SignedEntity } from '@sigstore/verify'
import { AirgapError } from '../../errors.ts'

/** A signer's certificate, parsed by the library. */
export type Certificate = Extract<SignedEntity['key'], { $case: 'certificate' }>['certificate']
type Asn1 = Certificate['extensions'][number]

/** Whom a certificate of Fulcio names (sigstore/fulcio, docs/certificate-specification.md). */
export interface Leaf {
  /** The only subject alternative name: a URI, an e-mail address, or Fulcio's `user!domain`. */
  identity: string
  /** The OpenID Connect issuer. */
  issuer: string
}

const KEY_USAGE = '2.5.29.15'
const SUBJECT_ALT_NAME = '2.5.29.17'
const BASIC_CONSTRAINTS = '2.5.29.19'
const EXTENDED_KEY_USAGE = '2.5.29.37'
/** Extensions that may be critical. A certificate with any other critical extension must be refused. */
const UNDERSTOOD = new Set([KEY_USAGE, SUBJECT_ALT_NAME, BASIC_CONSTRAINTS, EXTENDED_KEY_USAGE])

const CODE_SIGNING = '1.3.6.1.5.5.7.3.3'
const FULCIO_ISSUER = '1.3.6.1.4.1.57264.1.8'
/** Its value is the plain text, without an ASN.1 type. */
const FULCIO_ISSUER_V1 = '1.3.6.1.4.1.57264.1.1'
const FULCIO_USERNAME = '1.3.6.1.4.1.57264.1.7'

const UTF8_STRING = 0x0c
/** GeneralName's choices (RFC 5280 § 4.2.1.6). */
const OTHER_NAME = 0
const EMAIL = 1
const URI = 6

/** In characters. The URI of a workflow has about 200. */
const MAX_NAME = 2048

/**
 * Reads whom a signer's certificate names. Refuses certificates that must not sign: of an authority, for another use,
 * with several names, or with texts that two readers could read differently. Does not check who issued it.
 *
 * The library's own parsing is not used, because it drops the highest bit of each byte and takes the first of several
 * names.
 *
 * @throws AirgapError `INVALID_CONTENT`, its message a clause.
 */
export function readLeaf(certificate: Certificate): Leaf {
  checkExtensions(certificate)
  if (certificate.extBasicConstraints?.isCA)
    throw refused('its certificate is that of a certificate authority')
  if (certificate.extKeyUsage?.digitalSignature === false) {
    throw refused('its certificate is not for signatures')
  }
  const uses = contentOf(certificate, EXTENDED_KEY_USAGE)?.subs.map((use) => use.toOID()) ?? []
  if (!uses.includes(CODE_SIGNING)) throw refused('its certificate is not for signing code')
  return { identity: identityOf(certificate), issuer: issuerOf(certificate) }
}

function checkExtensions({ extensions }: Certificate): void {
  const seen = new Set<string>()
  for (const { subs } of extensions) {
    const oid = subs[0]?.toOID() ?? ''
    if (seen.has(oid)) throw refused(`its certificate has the extension ${oid} twice`)
    seen.add(oid)
    const isCritical = subs.length === 3 && subs[1]?.toBoolean() === true
    if (isCritical && !UNDERSTOOD.has(oid)) {
      throw refused(`its certificate has the critical extension ${oid}, which is unknown`)
    }
  }
}

function identityOf(certificate: Certificate): string {
  const names = contentOf(certificate, SUBJECT_ALT_NAME)?.subs ?? []
  const [name] = names
  if (!name) throw refused('its certificate contains no name')
  if (names.length > 1) throw refused(`its certificate has ${names.length} names, but only one is allowed`)
  if (name.tag.isContextSpecific(EMAIL) || name.tag.isContextSpecific(URI)) {
    const text = name.value.toString('latin1')
    if (/^[\x21-\x7e]+$/.test(text) && text.length <= MAX_NAME && name.subs.length === 0) return text
    throw refused('the name in its certificate contains invalid characters')
  }
  const [oid, value] = name.subs
  if (name.tag.isContextSpecific(OTHER_NAME) && oid?.toOID() === FULCIO_USERNAME && name.subs.length === 2) {
    const text = value?.tag.isContextSpecific(0) && value.subs.length === 1 ? value.subs[0] : undefined
    if (text) return utf8String(text, 'name')
  }
  throw refused('the name in its certificate is not a URI, an e-mail address or a user name')
}

function issuerOf(certificate: Certificate): string {
  const content = contentOf(certificate, FULCIO_ISSUER)
  const issuer = content && utf8String(content, 'issuer')
  const old = certificate.extension(FULCIO_ISSUER_V1)
  const oldIssuer = old && utf8(old.value, 'issuer')
  if (issuer !== undefined && oldIssuer !== undefined && issuer !== oldIssuer) {
    throw refused('its certificate names two issuers')
  }
  const found = issuer ?? oldIssuer
  if (found === undefined) throw refused('its certificate does not name the issuer that vouched for the name')
  return found
}

/** The only value inside an extension. */
function contentOf(certificate: Certificate, oid: string): Asn1 | undefined {
  const extension = certificate.extension(oid)
  if (!extension) return undefined
  const { subs } = extension.valueObj
  if (subs.length === 1 && subs[0]) return subs[0]
  throw refused(`the extension ${oid} of its certificate cannot be read`)
}

function utf8String({ tag, value, subs }: Asn1, what: string): string {
  if (tag.isUniversal() && tag.number === UTF8_STRING && !tag.constructed && subs.length === 0) {
    return utf8(value, what)
  }
  throw refused(`the ${what} in its certificate is not a text`)
}

function utf8(bytes: Uint8Array, what: string): string {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    if (text !== '' && text.length <= MAX_NAME && !/[\p{C}\p{Z}]/u.test(text)) return text
  } catch {
    // Throws below.
  }
  throw refused(`the ${what} in its certificate contains invalid characters`)
}

function refused(reason: string): AirgapError {
  return new AirgapError('INVALID_CONTENT', reason)
}
