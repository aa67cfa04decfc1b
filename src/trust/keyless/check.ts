import { createHash, verify, X509Certificate } from 'node:crypto'
import type { Bundle } from '@sigstore/bundle'
import { toSignedEntity } from '@sigstore/verify'
import { AirgapError } from '../../errors.ts'
import { readCertificateBundle, verifyCertificateBundle } from '../identity/certificate-bundle.ts'
import type { Root } from '../identity/trusted-root.ts'
import type { CertifiedIdentity } from './certificate.ts'

/**
 * Checks what timestamp authorities have answered, before anything becomes public: each grants a timestamp, over this
 * signature. Whether it is by somebody who is trusted, only a trusted root can tell.
 * @throws AirgapError `CONTENT_MISMATCH`
 */
export function checkTimestamps(bundle: Bundle, signed: Uint8Array, signature: Uint8Array): void {
  const imprint = createHash('sha256').update(signature).digest()
  const fail = (reason: string, cause?: unknown): never => {
    throw new AirgapError('CONTENT_MISMATCH', `what the timestamp authority has answered ${reason}`, {
      hint: 'Nothing was written into the log. Look at the URL of the timestamp authority (tsaUrls of the signing config).',
      cause,
    })
  }
  try {
    for (const each of toSignedEntity(bundle, Buffer.from(signed)).timestamps) {
      if (each.$case !== 'timestamp-authority') continue
      const { status, tstInfo } = each.timestamp
      // Granted, or granted with changes (RFC 3161 § 2.4.2).
      if (status !== 0n && status !== 1n) fail(`is a refusal (status ${status})`)
      if (!tstInfo.messageImprintHashedMessage.equals(imprint)) fail('is a timestamp of something else')
      if (!Number.isFinite(tstInfo.genTime.getTime())) fail('tells no time')
    }
  } catch (error) {
    if (error instanceof AirgapError) throw error
    // The library's parsers throw whatever JavaScript throws.
    fail('is no timestamp', error)
  }
}

/**
 * Checks a signature that has just been made as a reader would: it is over these bytes, by the key of its certificate;
 * and with a trusted root all of it, the certificate's authority, the log and the time.
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
    throw failed('it is of another kind')
  const { publicKey } = new X509Certificate(key.certificate.rawBytes)
  if (!verify('sha256', signed, publicKey, content.messageSignature.signature)) {
    throw failed('it is not by the key of its certificate')
  }
  if (!trustedRoot) return
  const verdict = verifyCertificateBundle(read, signed, trustedRoot)
  if (!verdict.ok) throw failed(verdict.reason)
  const { by } = verdict
  if (by.identity !== identity.identity || by.issuer !== identity.issuer) {
    throw failed(`its certificate names ${by.identity} (issuer ${by.issuer})`)
  }
}

function failed(reason: string): AirgapError {
  return new AirgapError('VERIFICATION_FAILED', `the signature that was made does not hold: ${reason}`, {
    hint: 'The services and the trusted root have to belong together: look at --signing-config and --trusted-root, and whether this machine’s clock is right.',
  })
}
