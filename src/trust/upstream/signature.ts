import { AirgapError } from '../../errors.ts'
import {
  CERTIFICATE_ANNOTATION,
  COSIGN_SIGN_PREDICATE,
  LOG_ENTRY_ANNOTATION,
  SIGNATURE_ANNOTATION,
  TIMESTAMP_ANNOTATION,
} from '../../oci/cosign.ts'
import { type Digest, isDigest } from '../../oci/digest.ts'
import { checkKeyCase, checkShape, parseStrictJson } from '../../oci/json.ts'
import type { Reference } from '../../oci/reference.ts'
import { decodeBase64 } from '../pem.ts'
import {
  readCertificateBundle,
  type Refused,
  verifyCertificateBundle,
} from '../identity/certificate-bundle.ts'
import { strangerReason } from '../identity/identity.ts'
import { bundleOfCosignParts } from '../identity/old-cosign-bundle.ts'
import type { Root } from '../identity/trusted-root.ts'
import type { SignedBy } from '../verified.ts'
import { verifySignature } from '../verify.ts'
import type { SignatureForm } from './holder.ts'
import { MESSAGE_SIGNATURE, OTHER_KEY, verifyKeyEnvelope } from './key-envelope.ts'
import { type AcceptedSigners, type NameCheck, nameFault } from './rule.ts'
import { parseUpstreamSigning } from './simple-signing.ts'
import * as v from 'valibot'
import { IN_TOTO_PAYLOAD } from '../dsse.ts'

/** Maximum number of subjects in a statement; `cosign sign` writes one. */
const MAX_SUBJECTS = 100

const MEMBERS = 'a member is missing or of the wrong kind'

const Statement = v.looseObject(
  {
    _type: v.picklist(
      ['https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v0.1'],
      'it is not an in-toto statement',
    ),
    predicateType: v.string('a string is expected'),
    subject: v.pipe(
      v.array(
        v.looseObject({ digest: v.record(v.string(), v.string('a string is expected'), MEMBERS) }, MEMBERS),
        'a list is expected',
      ),
      v.minLength(1, 'it names no subject'),
      v.maxLength(MAX_SUBJECTS, `it names more than ${MAX_SUBJECTS} subjects`),
    ),
  },
  MEMBERS,
)

/**
 * Parses a statement that must be a signature of an image (in-toto attestation, spec/v1/statement.md), not another
 * attestation. Never throws, whatever the bytes are.
 * @returns the digests of its subjects.
 */
function readImageStatement(
  payloadType: string,
  payload: Uint8Array,
): { ok: true; subjects: Digest[] } | Refused {
  const what = 'its statement'
  if (payloadType !== IN_TOTO_PAYLOAD) {
    return {
      ok: false,
      reason: `it contains ${shown(payloadType)} instead of a statement about an image`,
    }
  }
  try {
    const value = parseStrictJson(payload, what)
    if (typeof value === 'object' && value !== null) checkKeyCase(value, Object.keys(Statement.entries), what)
    const { predicateType, subject } = checkShape(Statement, value, what)
    if (predicateType !== COSIGN_SIGN_PREDICATE) {
      return {
        ok: false,
        reason: `it is an attestation (${shown(predicateType)}), not a signature of an image`,
      }
    }
    for (const one of subject) checkKeyCase(one, ['name', 'digest'], what)
    const digests = subject.flatMap(({ digest }) => {
      checkKeyCase(digest, ['sha256'], what)
      const named = `sha256:${digest.sha256}`
      return isDigest(named) ? [named] : []
    })
    if (digests.length === subject.length) return { ok: true, subjects: digests }
    return { ok: false, reason: `${what} names a subject without a SHA-256 digest` }
  } catch (error) {
    if (error instanceof AirgapError) return { ok: false, reason: error.message }
    throw error
  }
}

/** Text from outside for a message, shortened and quoted. */
function shown(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text)
}

/** A layer that may be a signature, with its bytes, whose digest is verified. */
export interface OfferedSignature {
  form: SignatureForm
  bytes: Uint8Array
  annotations?: Record<string, string> | null | undefined
}

/** What a signature must be. */
export interface Demand {
  /** What must be signed. */
  subject: Digest
  /** The image's own name. */
  image: Reference
  by: AcceptedSigners
  dockerReference: NameCheck
  /** For verifying certificates. */
  root: Root | undefined
}

/** Maximum length in characters. Annotations are part of a manifest, which may have 8 MiB. */
const MAX_ANNOTATION = 256 * 1024

/**
 * Verifies a signature of an image, and only then checks what was signed: it must be a signature of an image, and of
 * this image. Never throws, whatever the signature contains.
 *
 * @returns who signed; or why the signature is not good, as a clause about it.
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
    return refused(`it is a signature of another image: ${digests.slice(0, 3).join(', ')}`)
  }
  const fault = nameFault(demand.dockerReference, name, demand.image)
  return fault === undefined ? { ok: true, by } : refused(fault)
}

/** The accepted signer, and what was signed. */
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
  const payload = parseUpstreamSigning(bytes)
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
    // The verdict's reason names the files of the keys, but reasons are recorded in bundles.
    if (!isCertified) return refused(OTHER_KEY)
  }
  if (!isCertified) return refused('it was made with a key, but a certificate is required')
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
  if (entry === undefined) return refused('it has no entry in the transparency log')
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
  throw new AirgapError('INVALID_CONTENT', `${what} contains no timestamp`)
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

const NO_ROOT = 'it was made with a certificate, but there is no trusted root to verify it with'

function signedStatement(by: SignedBy, payloadType: string, payload: Uint8Array): Signed | Refused {
  const statement = readImageStatement(payloadType, payload)
  return statement.ok ? { ok: true, by, digests: statement.subjects } : statement
}

/** Refuses certificates that name anybody else. */
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
