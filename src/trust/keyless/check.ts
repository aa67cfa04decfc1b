import { createHash, verify, X509Certificate } from 'node:crypto'
import type { Bundle } from '@sigstore/bundle'
import { toSignedEntity } from '@sigstore/verify'
import { AirgapError } from '../../errors.ts'
import { readCertificateBundle, verifyCertificateBundle } from '../identity/certificate-bundle.ts'
import { outsideValidity } from '../identity/reasons.ts'
import type { Root } from '../identity/trusted-root.ts'
import type { CertifiedIdentity } from './certificate.ts'

/**
 * Checks the answer of a timestamp authority before anything is written to a log: it must grant a timestamp for this
 * signature. Whether the authority is trusted is not checked here.
 *
 * @param answer TimeStampResp, DER.
 * @returns its time, in milliseconds since 1970.
 * @throws AirgapError `CONTENT_MISMATCH`
 */
export function checkTimestamp(answer: Buffer, bundle: Bundle, signed: Uint8Array): number {
  try {
    const { verificationMaterial: material } = bundle
    const timestampVerificationData = { rfc3161Timestamps: [{ signedTimestamp: answer }] }
    const entity = toSignedEntity(
      { ...bundle, verificationMaterial: { ...material, timestampVerificationData } },
      Buffer.from(signed),
    )
    const [found] = entity.timestamps
    if (found?.$case !== 'timestamp-authority') throw badTimestamp('is not a timestamp')
    const { status, tstInfo } = found.timestamp
    // Granted, or granted with changes (RFC 3161 § 2.4.2).
    if (status !== 0n && status !== 1n) throw badTimestamp(`is a refusal (status ${status})`)
    const imprint = createHash('sha256').update(entity.signature.signature).digest()
    if (!tstInfo.messageImprintHashedMessage.equals(imprint)) {
      throw badTimestamp('is a timestamp for something else')
    }
    const time = tstInfo.genTime.getTime()
    if (!Number.isFinite(time)) throw badTimestamp('contains no time')
    return time
  } catch (error) {
    if (error instanceof AirgapError) throw error
    // The library's parsers may throw anything.
    throw badTimestamp('is not a timestamp', error)
  }
}

function badTimestamp(reason: string, cause?: unknown): AirgapError {
  return new AirgapError('CONTENT_MISMATCH', `the answer of the timestamp authority ${reason}`, {
    hint: 'Nothing was written to the log. Check the URL of the timestamp authority (tsaUrls in the signing config).',
    cause,
  })
}

/**
 * Verifies a new signature like a reader: it is over these bytes, by the key of its certificate, which was valid at
 * every stated time. With a trusted root, also verifies the certificate's authority, the log and the time.
 *
 * @param json the bundle as it will be written.
 * @throws AirgapError `VERIFICATION_FAILED`
 */
export function checkResult(
  json: Uint8Array,
  signed: Uint8Array,
  identity: CertifiedIdentity,
  trustedRoot: Root | undefined,
): void {
  const read = readCertificateBundle(json)
  if (!read.ok) throw failed(read.reason)
  const { content, verificationMaterial } = read.bundle
  const { content: key } = verificationMaterial
  if (content.$case !== 'messageSignature' || key.$case !== 'certificate')
    throw failed('it is of the wrong kind')
  const { publicKey } = new X509Certificate(key.certificate.rawBytes)
  if (!verify('sha256', signed, publicKey, content.messageSignature.signature)) {
    throw failed('it is not by the key of its certificate')
  }
  const outside = outsideValidity(toSignedEntity(read.bundle, Buffer.from(signed)))
  if (outside !== undefined) throw failed(outside, CLOCKS_DIFFER)
  if (!trustedRoot) return
  const verdict = verifyCertificateBundle(read, signed, trustedRoot)
  if (!verdict.ok) throw failed(verdict.reason)
  const { by } = verdict
  if (by.identity !== identity.identity || by.issuer !== identity.issuer) {
    throw failed(`its certificate names ${by.identity} (issuer ${by.issuer})`)
  }
}

/** What to do if the services disagree about the time. */
export const CLOCKS_DIFFER =
  'The clocks of the services differ. Run the same command again. If that does not help, the operators of Fulcio, the log and the timestamp authority must correct their clocks.'

function failed(
  reason: string,
  hint = 'The services and the trusted root must belong together: check the signing config, the trusted root, and this machine’s clock.',
): AirgapError {
  return new AirgapError('VERIFICATION_FAILED', `the new signature does not verify: ${reason}`, {
    hint,
  })
}
