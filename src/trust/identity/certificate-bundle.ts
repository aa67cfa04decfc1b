import { createHash } from 'node:crypto'
import { type Bundle, bundleFromJSON } from '@sigstore/bundle'
import { HashAlgorithm } from '@sigstore/protobuf-specs'
import { type SignedEntity, toSignedEntity, Verifier } from '@sigstore/verify'
import { AirgapError, messageOf } from '../../errors.ts'
import { checkShape, parseStrictJson } from '../../oci/json.ts'
import { BUNDLE_MEDIA_TYPES } from '../bundle-types.ts'
import { BUNDLE_JSON_LIMIT } from '../key-bundle.ts'
import { has, member } from '../members.ts'
import type { SignedByIdentity } from '../verified.ts'
import { readLeaf } from './leaf.ts'
import { checkLogEntry, describeLogEntry, logsInUse, withoutIdleProof } from './log-entries.ts'
import { explainFailure, missingWitness } from './reasons.ts'
import { revealed } from './revealed.ts'
import type { Root } from './trusted-root.ts'
import * as v from 'valibot'
import { base64Text } from '../pem.ts'
import { CertificateShape, int64, list, MEMBERS, text } from '../protobuf-json.ts'

/** More than any tool writes, but few enough that a small file cannot cause much work. */
const MAX_PARTS = 16
/** The depth of a tree with 2^64 leaves. */
const MAX_HASHES = 64

const LogEntryShape = v.strictObject(
  {
    // Left out if it is zero.
    logIndex: v.nullish(int64),
    logId: v.strictObject({ keyId: base64Text }, MEMBERS),
    kindVersion: v.strictObject({ kind: text, version: text }, MEMBERS),
    integratedTime: v.nullish(int64),
    inclusionPromise: v.nullish(v.strictObject({ signedEntryTimestamp: base64Text }, MEMBERS)),
    inclusionProof: v.nullish(
      v.strictObject(
        {
          logIndex: v.nullish(int64),
          rootHash: base64Text,
          treeSize: int64,
          hashes: v.nullish(list(base64Text, MAX_HASHES)),
          checkpoint: v.nullish(v.strictObject({ envelope: text }, MEMBERS)),
        },
        MEMBERS,
      ),
    ),
    canonicalizedBody: base64Text,
  },
  MEMBERS,
)

const VerificationMaterialShape = v.strictObject(
  {
    certificate: v.nullish(CertificateShape),
    x509CertificateChain: v.nullish(
      v.strictObject({ certificates: list(CertificateShape, MAX_PARTS) }, MEMBERS),
    ),
    tlogEntries: v.nullish(list(LogEntryShape, MAX_PARTS)),
    timestampVerificationData: v.nullish(
      v.strictObject(
        {
          rfc3161Timestamps: v.nullish(
            list(v.strictObject({ signedTimestamp: base64Text }, MEMBERS), MAX_PARTS),
          ),
        },
        MEMBERS,
      ),
    ),
  },
  MEMBERS,
)

/** A Sigstore bundle with a certificate (sigstore/protobuf-specs, `sigstore_bundle.proto`) as JSON. */
const CertificateBundleShape = v.pipe(
  v.strictObject(
    {
      mediaType: text,
      verificationMaterial: VerificationMaterialShape,
      messageSignature: v.nullish(
        v.strictObject(
          {
            messageDigest: v.strictObject({ algorithm: text, digest: base64Text }, MEMBERS),
            signature: base64Text,
          },
          MEMBERS,
        ),
      ),
      dsseEnvelope: v.nullish(
        v.strictObject(
          {
            payload: base64Text,
            payloadType: text,
            signatures: v.pipe(
              list(v.strictObject({ sig: base64Text, keyid: v.nullish(text) }, MEMBERS), 1),
              v.minLength(1, 'one signature is expected'),
            ),
          },
          MEMBERS,
        ),
      ),
    },
    MEMBERS,
  ),
  // Exactly one of each pair: in protobuf they exclude each other, but the library would take the first one it looks
  // for.
  v.check((bundle) => !bundle.messageSignature !== !bundle.dsseEnvelope, 'one content is expected'),
  v.check(
    ({ verificationMaterial: { certificate, x509CertificateChain } }) =>
      !certificate !== !x509CertificateChain,
    'one certificate is expected',
  ),
)

const MEDIA_TYPES: ReadonlySet<unknown> = new Set(BUNDLE_MEDIA_TYPES)

/** A Sigstore bundle with a certificate. Nothing is verified yet. */
export interface CertificateBundle {
  ok: true
  bundle: Bundle
  /** A signature over separate bytes, or an envelope that contains what it signs. */
  content: 'message' | 'dsse'
}

/** Why something is refused, as a clause about it ("it was made with a key") that is safe to print. */
export interface Refused {
  ok: false
  reason: string
  /** Whether it is a sound signature by a key, where one with a certificate was expected. */
  isByKey?: boolean
}

/**
 * Parses a Sigstore bundle (sigstore/protobuf-specs, `sigstore_bundle.proto`) that must contain a certificate: strict
 * JSON of at most 1 MiB with only the members of these messages, canonical base64, and at most 16 log entries,
 * timestamps and certificates each. Never throws, whatever the bytes are.
 */
export function readCertificateBundle(json: Uint8Array): CertificateBundle | Refused {
  if (json.length > BUNDLE_JSON_LIMIT) return unusable('it is larger than 1 MiB')
  try {
    const value = parseStrictJson(json, 'Sigstore bundle')
    if (!MEDIA_TYPES.has(member(value, 'mediaType'))) {
      return unusable('its media type is not that of a known Sigstore bundle')
    }
    const material = member(value, 'verificationMaterial')
    const isCertified = has(material, 'certificate') || has(material, 'x509CertificateChain')
    if (has(material, 'publicKey')) {
      return isCertified
        ? unusable('it names both a key and a certificate as its signer')
        : {
            ok: false,
            isByKey: true,
            reason: 'it was made with a key, but a signature with a certificate is required',
          }
    }
    const bundle = bundleFromJSON(checkShape(CertificateBundleShape, value, 'Sigstore bundle'))
    return { ok: true, bundle, content: bundle.content.$case === 'dsseEnvelope' ? 'dsse' : 'message' }
  } catch (error) {
    // The try block only parses bytes from outside. The libraries throw plain errors and TypeErrors, whose texts are
    // not for users.
    if (error instanceof AirgapError) return unusable(messageOf(error).replace(/^Sigstore bundle: /, ''))
    return unusable('its content is not valid')
  }
}

/**
 * Verifies a bundle with a certificate. It needs an entry in a known log for exactly this signature and certificate; a
 * time that a known log promised or a known authority signed; a certificate that a known authority issued for code
 * signing, that was valid at each of these times, and that a known certificate log recorded (SCT); and a valid
 * signature. Everything in the bundle is checked, and any failure makes it fail.
 *
 * "Known" means in `root`. Other certificates in the bundle than the signer's are ignored. The caller must compare whom
 * the certificate names; see `strangerReason`.
 *
 * @param payload the signed bytes of a message signature; unused for an envelope, which contains its own payload.
 */
export function verifyCertificateBundle(
  { bundle, content }: CertificateBundle,
  payload: Uint8Array,
  root: Root,
): { ok: true; by: SignedByIdentity } | Refused {
  let entity: SignedEntity | undefined
  try {
    if (content === 'message') checkDigest(bundle, payload)
    const { verificationMaterial } = bundle
    const tlogEntries = verificationMaterial.tlogEntries.map(withoutIdleProof)
    entity = toSignedEntity(
      { ...bundle, verificationMaterial: { ...verificationMaterial, tlogEntries } },
      Buffer.from(payload),
    )
    if (entity.key.$case !== 'certificate') return refused('it was made with a key')
    const leaf = readLeaf(entity.key.certificate)
    const missing = missingWitness(entity, root)
    if (missing !== undefined) return refused(missing)
    const der = certificateOf(bundle)
    for (const entry of tlogEntries) checkLogEntry(entry, der)
    const tlogs = logsInUse(tlogEntries, timesOf(entity), root)
    const thresholds = { tlogThreshold: 1, ctlogThreshold: 1, timestampThreshold: 1 }
    new Verifier({ ...root.material, tlogs }, thresholds).verify(entity)
    return {
      ok: true,
      by: {
        kind: 'identity',
        ...leaf,
        times: timesOf(entity),
        logEntries: tlogEntries.map(describeLogEntry),
        root: { source: root.source, digest: root.digest },
      },
    }
  } catch (error) {
    if (error instanceof AirgapError) return refused(revealed(messageOf(error)))
    return refused(explainFailure(error, entity, root))
  }
}

/** The hashes that a message signature may use, by their names in bundles and in node:crypto. */
const HASHES = new Map<HashAlgorithm, string>([
  [HashAlgorithm.SHA2_256, 'sha256'],
  [HashAlgorithm.SHA2_384, 'sha384'],
  [HashAlgorithm.SHA2_512, 'sha512'],
])

/** Needed because the library compares the bundle's digest only with that of a log entry. */
function checkDigest({ content }: Bundle, payload: Uint8Array): void {
  const signed = content.$case === 'messageSignature' ? content.messageSignature.messageDigest : undefined
  const hash = signed && HASHES.get(signed.algorithm)
  if (hash === undefined) throw new AirgapError('INVALID_CONTENT', 'it does not sign a SHA-2 hash')
  const digest = createHash(hash).update(payload).digest()
  if (signed?.digest.equals(digest)) return
  throw new AirgapError(
    'INVALID_CONTENT',
    `it was made over other content: it signs ${signed?.digest.toString('hex')}, these bytes have ${digest.toString('hex')} (${hash})`,
  )
}

/** Whether a message signature claims to be over `payload`. Verifies nothing. */
export function isOver({ bundle }: CertificateBundle, payload: Uint8Array): boolean {
  try {
    checkDigest(bundle, payload)
    return true
  } catch {
    return false
  }
}

/** The signer's certificate, DER. */
function certificateOf({ verificationMaterial: { content } }: Bundle): Buffer {
  if (content.$case === 'certificate') return Buffer.from(content.certificate.rawBytes)
  const first =
    content.$case === 'x509CertificateChain' ? content.x509CertificateChain.certificates[0] : undefined
  return Buffer.from(first?.rawBytes ?? [])
}

/** The signing times, in milliseconds since 1970. A time in an entry without the log's promise is not signed. */
function timesOf({ timestamps }: SignedEntity): number[] {
  return timestamps.flatMap((timestamp) => {
    if (timestamp.$case === 'timestamp-authority') return [timestamp.timestamp.signingTime.getTime()]
    const { inclusionPromise, integratedTime } = timestamp.tlogEntry
    return inclusionPromise ? [Number(integratedTime) * 1000] : []
  })
}

function unusable(reason: string): Refused {
  return refused(`it is not a usable Sigstore bundle: ${revealed(reason.slice(0, 300))}`)
}

function refused(reason: string): Refused {
  return { ok: false, reason }
}
