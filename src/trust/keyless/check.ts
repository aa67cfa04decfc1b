import { createHash, verify, X509Certificate } from 'node:crypto'
import { bundleFromJSON, type Bundle } from '@sigstore/bundle'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import { PolicyError, toSignedEntity, toTrustMaterial, VerificationError, Verifier } from '@sigstore/verify'
import { AirgapError, messageOf } from '../../errors.ts'
import { parseStrictJson } from '../../oci/json.ts'
import type { CertifiedIdentity } from './certificate.ts'

/** The most that a trusted root may have. Bytes. */
export const MAX_TRUSTED_ROOT = 4 * 1024 * 1024

/**
 * Reads a trusted root (sigstore/protobuf-specs, `sigstore_trustroot.proto`).
 * @param source names the file in errors.
 * @throws AirgapError `INVALID_CONTENT`
 */
export function readTrustedRoot(bytes: Uint8Array, source: string): TrustedRoot {
  const value = parseStrictJson(bytes, source)
  try {
    const root = TrustedRoot.fromJSON(value)
    if (/^application\/vnd\.dev\.sigstore\.trustedroot(?:\+json;version=0\.1|\.v0\.[12]\+json)$/.test(root.mediaType)) {
      return root
    }
  } catch (error) {
    throw noRoot(source, error)
  }
  throw noRoot(source)
}

function noRoot(source: string, cause?: unknown): AirgapError {
  return new AirgapError('INVALID_CONTENT', `${source} is no trusted root of Sigstore`, {
    hint: '`airgap trust-root fetch` gets the one of the public instance.',
    cause,
  })
}

/**
 * Checks a signature that has just been made as a reader would, as far as that goes: it is over these bytes, by the key
 * of its certificate; and with a trusted root all of it, the certificate's authority, the log and the timestamps.
 *
 * @param json the bundle as it will be written.
 * @param logs how many entries of logs it must have.
 * @throws AirgapError `VERIFICATION_FAILED`
 */
export function checkCertificateBundle(
  json: Uint8Array,
  signed: Uint8Array,
  expected: { identity: CertifiedIdentity; logs: number; trustedRoot: TrustedRoot | undefined },
): void {
  const bundle = bundleFromJSON(parseStrictJson(json, 'Sigstore bundle'))
  const { content, verificationMaterial } = bundle
  const { tlogEntries, content: key } = verificationMaterial
  if (content.$case !== 'messageSignature' || key.$case !== 'certificate') throw failed('it is of another kind')
  const { signature, messageDigest } = content.messageSignature
  const digest = createHash('sha256').update(signed).digest()
  if (!messageDigest.digest.equals(digest)) throw failed('it is over other bytes')
  const { publicKey } = new X509Certificate(key.certificate.rawBytes)
  if (!verify('sha256', signed, publicKey, signature)) throw failed('it is not by the key of its certificate')
  if (tlogEntries.length !== expected.logs) throw failed('entries of the log are missing')
  checkTimes(bundle, signed)
  if (expected.trustedRoot) checkTrust(bundle, signed, expected.identity, expected.trustedRoot)
}

/** The library reads the timestamps here; who has made them only a trusted root can tell. */
function checkTimes(bundle: Bundle, signed: Uint8Array): void {
  try {
    const { timestamps } = toSignedEntity(bundle, Buffer.from(signed))
    if (timestamps.length > 0) return
  } catch (error) {
    throw failed('what the timestamp authority has given is no timestamp', error)
  }
  throw failed('nothing in it says when it was made')
}

function checkTrust(
  bundle: Bundle,
  signed: Uint8Array,
  { identity, issuer }: CertifiedIdentity,
  root: TrustedRoot,
): void {
  const verifier = new Verifier(toTrustMaterial(root), {
    tlogThreshold: bundle.verificationMaterial.tlogEntries.length,
    ctlogThreshold: root.ctlogs.length > 0 ? 1 : 0,
    timestampThreshold: 1,
  })
  try {
    verifier.verify(toSignedEntity(bundle, Buffer.from(signed)), {
      // A string would be taken for a pattern that may match anywhere.
      subjectAlternativeName: new RegExp(`^${RegExp.escape(identity)}$`),
      extensions: { issuer },
    })
  } catch (error) {
    if (!(error instanceof VerificationError || error instanceof PolicyError)) throw error
    throw failed(`the trusted root does not bear it out (${messageOf(error)})`, error)
  }
}

function failed(reason: string, cause?: unknown): AirgapError {
  return new AirgapError('VERIFICATION_FAILED', `the signature that was made does not hold: ${reason}`, {
    hint: 'The services and the trusted root have to belong together: look at --signing-config and --trusted-root, and at the URLs of the services.',
    cause,
  })
}
