import { AirgapError } from '../../errors.ts'
import {
  CERTIFICATE_ANNOTATION,
  LOG_ENTRY_ANNOTATION,
  SIGNATURE_ANNOTATION,
  TIMESTAMP_ANNOTATION,
} from '../../oci/cosign.ts'
import type { Digest } from '../../oci/digest.ts'
import { checkKeyCase, parseStrictJson } from '../../oci/json.ts'
import type { Reference } from '../../oci/reference.ts'
import { decodeBase64 } from '../base64.ts'
import {
  readCertificateBundle,
  verifyCertificateBundle,
  type Refused,
} from '../identity/certificate-bundle.ts'
import { strangerReason } from '../identity/identity.ts'
import { bundleOfCosignParts } from '../identity/old-cosign-bundle.ts'
import type { Root } from '../identity/trusted-root.ts'
import type { SignedBy } from '../verified.ts'
import { verifySignature } from '../verify.ts'
import type { SignatureForm } from './holder.ts'
import { MESSAGE_SIGNATURE, OTHER_KEY, verifyKeyEnvelope } from './key-envelope.ts'
import { nameFault, type AcceptedSigners, type NameCheck } from './rule.ts'
import { parseSimpleSigning } from './simple-signing.ts'
import { readImageStatement } from './statement.ts'

/** A layer that may be a signature, with its bytes, which have the layer's digest. */
export interface OfferedSignature {
  form: SignatureForm
  bytes: Uint8Array
  annotations?: Record<string, string> | null | undefined
}

/** What a signature has to be. */
export interface Demand {
  /** What has to be signed. */
  subject: Digest
  /** The image's own name. */
  image: Reference
  by: AcceptedSigners
  dockerReference: NameCheck
  /** For certificates. */
  root: Root | undefined
}

/** Annotations are a part of a manifest, which may have 8 MiB. Characters. */
const MAX_ANNOTATION = 256 * 1024

/**
 * Verifies a signature of an image, and only then reads what was signed: that it is an image's signature, and of this
 * image. Never throws for anything that the signature may hold.
 *
 * @returns who has signed; or why it is no good, as a clause about the signature.
 * @throws AirgapError `INVALID_KEY` for a key of a kind that is not accepted.
 */
export function verifyImageSignature(
  offered: OfferedSignature,
  demand: Demand,
): { ok: true; by: SignedBy } | Refused {
  const signed =
    offered.form === 'simple-signing' ? verifyPayload(offered, demand) : verifyBundle(offered, demand)
  if (!signed.ok) return signed
  const { by, digests, name } = signed
  if (!digests.includes(demand.subject)) {
    return refused(`it is the signature of another image: ${digests.slice(0, 3).join(', ')}`)
  }
  const fault = nameFault(demand.dockerReference, name, demand.image)
  return fault === undefined ? { ok: true, by } : refused(fault)
}

/** Who has signed, which is the one required, and what. */
interface Signed {
  ok: true
  by: SignedBy
  digests: Digest[]
  name?: string
}

function verifyPayload(offered: OfferedSignature, { by, root }: Demand): Signed | Refused {
  const { bytes, annotations } = offered
  const signature = decodeBase64(annotationOf(annotations, SIGNATURE_ANNOTATION) ?? '')
  if (!signature) return refused(`it has no usable annotation ${SIGNATURE_ANNOTATION}`)
  const signer = payloadSigner(offered, signature, by, root)
  if (!signer.ok) return signer
  const payload = parseSimpleSigning(bytes)
  if (!payload.ok) return payload
  return { ok: true, by: signer.by, digests: [payload.digest], name: payload.reference }
}

type Signer = { ok: true; by: SignedBy } | Refused

function payloadSigner(
  { bytes, annotations }: OfferedSignature,
  signature: Buffer,
  by: AcceptedSigners,
  root: Root | undefined,
): Signer {
  const certificatePem = annotationOf(annotations, CERTIFICATE_ANNOTATION) ?? ''
  const isCertified = certificatePem !== '' && by.identities.length > 0
  if (by.keys.length > 0) {
    const verdict = verifySignature({ payload: bytes, signature: { der: signature }, keys: by.keys })
    if (verdict.ok) return { ok: true, by: { kind: 'key', key: verdict.key } }
    // Its own words name the files of the keys, and reasons are recorded.
    if (!isCertified) return refused(OTHER_KEY)
  }
  if (!isCertified) return refused('it was made with a key where a certificate is required')
  return certifiedSigner({ bytes, annotations, signature, certificatePem }, by, root)
}

function certifiedSigner(
  {
    bytes,
    annotations,
    signature,
    certificatePem,
  }: Omit<OfferedSignature, 'form'> & { signature: Buffer; certificatePem: string },
  by: AcceptedSigners,
  root: Root | undefined,
): Signer {
  const entry = annotationOf(annotations, LOG_ENTRY_ANNOTATION)
  if (entry === undefined) return refused('it comes without its entry in the transparency log')
  if (!root) return refused(NO_ROOT)
  try {
    const timestamp = timestampOf(annotationOf(annotations, TIMESTAMP_ANNOTATION))
    const rekorBundle = parseStrictJson(Buffer.from(entry), `its annotation ${LOG_ENTRY_ANNOTATION}`)
    const bundle = bundleOfCosignParts({ signature, certificatePem, rekorBundle, timestamp }, 'it')
    return onlyBy(verifyCertificateBundle({ ok: true, bundle, content: 'message' }, bytes, root), by)
  } catch (error) {
    if (error instanceof AirgapError) return refused(error.message)
    throw error
  }
}

function timestampOf(text: string | undefined): Buffer | undefined {
  if (text === undefined || text === '') return undefined
  const what = `its annotation ${TIMESTAMP_ANNOTATION}`
  const value = parseStrictJson(Buffer.from(text), what)
  const key = 'SignedRFC3161Timestamp'
  const isObject = typeof value === 'object' && value !== null
  if (isObject) checkKeyCase(value, [key], what)
  const member: unknown = isObject && Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : ''
  const timestamp = typeof member === 'string' ? decodeBase64(member) : undefined
  if (timestamp) return timestamp
  throw new AirgapError('INVALID_CONTENT', `${what} holds no timestamp`)
}

function verifyBundle({ bytes }: OfferedSignature, { by, root }: Demand): Signed | Refused {
  const read = readCertificateBundle(bytes)
  if (!read.ok || by.identities.length === 0) {
    if (by.keys.length === 0) return read.ok ? refused('it was made with a certificate') : read
    const verdict = verifyKeyEnvelope(bytes, by.keys)
    if (!verdict.ok) return verdict
    return signedStatement({ kind: 'key', key: verdict.key }, verdict.payloadType, verdict.payload)
  }
  const { content } = read.bundle
  if (content.$case !== 'dsseEnvelope') return refused(MESSAGE_SIGNATURE)
  if (!root) return refused(NO_ROOT)
  const verdict = onlyBy(verifyCertificateBundle(read, Buffer.alloc(0), root), by)
  if (!verdict.ok) return verdict
  const { payloadType, payload } = content.dsseEnvelope
  return signedStatement(verdict.by, payloadType, payload)
}

const NO_ROOT = 'it was made with a certificate, and there is no trusted root to check that with'

function signedStatement(by: SignedBy, payloadType: string, payload: Uint8Array): Signed | Refused {
  const statement = readImageStatement(payloadType, payload)
  return statement.ok ? { ok: true, by, digests: statement.subjects } : statement
}

/** Refuses whomever else a certificate names. */
function onlyBy(
  verdict: ReturnType<typeof verifyCertificateBundle>,
  { identities }: AcceptedSigners,
): ReturnType<typeof verifyCertificateBundle> {
  const stranger = verdict.ok ? strangerReason(verdict.by, identities) : undefined
  return stranger === undefined ? verdict : refused(stranger)
}

function annotationOf(annotations: OfferedSignature['annotations'], key: string): string | undefined {
  if (!annotations || !Object.hasOwn(annotations, key)) return undefined
  const value = annotations[key]
  return value !== undefined && value.length <= MAX_ANNOTATION ? value : undefined
}

function refused(reason: string): Refused {
  return { ok: false, reason }
}
