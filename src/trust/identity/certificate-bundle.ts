import { createHash } from 'node:crypto'
import {
  bundleFromJSON,
  BUNDLE_V01_MEDIA_TYPE,
  BUNDLE_V02_MEDIA_TYPE,
  BUNDLE_V03_LEGACY_MEDIA_TYPE,
  BUNDLE_V03_MEDIA_TYPE,
  type Bundle,
} from '@sigstore/bundle'
import { HashAlgorithm } from '@sigstore/protobuf-specs'
import { toSignedEntity, VerificationError, Verifier, type Signer } from '@sigstore/verify'
import { AirgapError } from '../../errors.ts'
import { parseStrictJson } from '../../oci/json.ts'
import { BUNDLE_JSON_LIMIT } from '../key-bundle.ts'
import type { LogEntry, SignedByIdentity } from '../verified.ts'
import type { Root } from './trusted-root.ts'

const MEDIA_TYPES: ReadonlySet<string> = new Set([
  BUNDLE_V03_MEDIA_TYPE,
  BUNDLE_V03_LEGACY_MEDIA_TYPE,
  BUNDLE_V02_MEDIA_TYPE,
  BUNDLE_V01_MEDIA_TYPE,
])

/** A Sigstore bundle that holds a certificate; nothing of it is verified yet. */
export interface CertificateBundle {
  ok: true
  bundle: Bundle
  /** A signature over bytes beside it, or an envelope that holds what it signs. */
  content: 'message' | 'dsse'
}

/** Why something is refused, as a clause about it ("it was made with a key"). */
export interface Refused {
  ok: false
  reason: string
}

/**
 * Reads a Sigstore bundle (sigstore/protobuf-specs, `sigstore_bundle.proto`) that must hold a certificate. Never throws
 * for anything that the bytes may hold.
 */
export function readCertificateBundle(json: Uint8Array): CertificateBundle | Refused {
  if (json.length > BUNDLE_JSON_LIMIT) return refused('it is larger than 1 MiB')
  try {
    const value = parseStrictJson(json, 'Sigstore bundle')
    const mediaType = memberOf(value, 'mediaType')
    if (typeof mediaType !== 'string' || !MEDIA_TYPES.has(mediaType)) {
      return refused('it is not a known kind of Sigstore bundle')
    }
    const bundle = bundleFromJSON(value)
    if (bundle.verificationMaterial.content.$case === 'publicKey') {
      return refused('it was made with a key where a certificate is required')
    }
    return {
      ok: true,
      bundle,
      content: bundle.content.$case === 'dsseEnvelope' ? 'dsse' : 'message',
    }
  } catch {
    // Everything in the try block is a parser at work on foreign bytes.
    return refused('its contents do not make a Sigstore bundle')
  }
}

/**
 * Verifies a bundle with a certificate: chain to the root, certificate timestamp (SCT), log entry and signing time, at
 * least one of each, and the signature. Whom the certificate names is for the caller to compare.
 *
 * @param payload what a message signature is over; unused for an envelope, whose own payload is what was verified.
 */
export function verifyCertificateBundle(
  { bundle, content }: CertificateBundle,
  payload: Uint8Array,
  root: Root,
): { ok: true; by: SignedByIdentity } | Refused {
  try {
    if (content === 'message' && !isDigestRight(bundle, payload)) return refused('it is over other content')
    const thresholds = { tlogThreshold: 1, ctlogThreshold: 1, timestampThreshold: 1 }
    const entity = toSignedEntity(bundle, Buffer.from(payload))
    const signer = new Verifier(root.material, thresholds).verify(entity)
    return { ok: true, by: signedBy(bundle, signer, entity, root) }
  } catch (error) {
    if (error instanceof AirgapError) return refused(error.message)
    // The library throws TypeErrors, too, for what is missing.
    const reason = error instanceof VerificationError ? error.message : 'something that it needs is missing'
    return refused(`it does not verify with the trusted root: ${reason}`)
  }
}

/** The hashes that a message signature may be over, as the bundle and as node:crypto name them. */
const HASHES = new Map<HashAlgorithm, string>([
  [HashAlgorithm.SHA2_256, 'sha256'],
  [HashAlgorithm.SHA2_384, 'sha384'],
  [HashAlgorithm.SHA2_512, 'sha512'],
])

/** The library compares the digest that stands beside a signature with a log entry's only. */
function isDigestRight({ content }: Bundle, payload: Uint8Array): boolean {
  if (content.$case !== 'messageSignature') return false
  const { algorithm, digest } = content.messageSignature.messageDigest
  const hash = HASHES.get(algorithm)
  return hash !== undefined && createHash(hash).update(payload).digest().equals(digest)
}

function signedBy(
  { verificationMaterial }: Bundle,
  signer: Signer,
  entity: ReturnType<typeof toSignedEntity>,
  { source, digest }: Root,
): SignedByIdentity {
  const identity = signer.identity?.subjectAlternativeName
  const issuer = signer.identity?.extensions?.issuer
  if (!identity || !issuer) {
    throw new AirgapError(
      'INVALID_CONTENT',
      'its certificate names no identity, or nobody who vouches for it',
    )
  }
  return {
    kind: 'identity',
    identity,
    issuer,
    times: timesOf(entity),
    logEntries: verificationMaterial.tlogEntries.map(
      ({ logId, logIndex, integratedTime, inclusionPromise }): LogEntry => ({
        logId: logId?.keyId.toString('hex') ?? '',
        logIndex,
        ...(inclusionPromise ? { integratedTime: Number(integratedTime) } : {}),
      }),
    ),
    root: { source, digest },
  }
}

function timesOf({ timestamps }: ReturnType<typeof toSignedEntity>): number[] {
  return timestamps.flatMap((timestamp) => {
    if (timestamp.$case === 'timestamp-authority') return [timestamp.timestamp.signingTime.getTime()]
    const { tlogEntry } = timestamp
    return tlogEntry.inclusionPromise ? [Number(tlogEntry.integratedTime) * 1000] : []
  })
}

function memberOf(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined
}

function refused(reason: string): Refused {
  return { ok: false, reason }
}
