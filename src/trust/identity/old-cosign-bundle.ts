import { bundleToJSON, type Bundle } from '@sigstore/bundle'
import { Bundle as BundleMessage } from '@sigstore/protobuf-specs'
import * as v from 'valibot'
import { AirgapError } from '../../errors.ts'
import { checkKeyCase, checkShape, parseStrictJson } from '../../oci/json.ts'
import { base64Text, decodeBase64, pemBlocks } from '../pem.ts'

/** The parts of a keyless signature by cosign 1 or 2: in their own JSON, or as annotations of a layer. */
export interface CosignParts {
  /** The raw signature: DER for ECDSA. */
  signature: Uint8Array
  /** The signer's certificate, one PEM block, without its chain: only the certificates of the trusted root count. */
  certificatePem: string
  /** The log's answer, `{ SignedEntryTimestamp, Payload }`, parsed by {@link parseStrictJson}. */
  rekorBundle: unknown
  /** An authority's timestamp over the signature (RFC 3161), DER. */
  timestamp?: Uint8Array | undefined
}

const wholeNumber = v.pipe(
  v.number('a number is expected'),
  v.integer('a whole number is expected'),
  v.minValue(0, 'it is negative'),
)
const MEMBERS = 'a member is missing or of the wrong kind'

const RekorBundle = v.object(
  {
    SignedEntryTimestamp: base64Text,
    Payload: v.object(
      {
        body: base64Text,
        integratedTime: wholeNumber,
        logIndex: wholeNumber,
        logID: v.pipe(
          v.string('a string is expected'),
          v.regex(/^[0-9a-f]{64}$/, 'a SHA-256 in hexadecimal is expected'),
        ),
      },
      MEMBERS,
    ),
  },
  MEMBERS,
)

/** The part of a `hashedrekord` of version 0.0.1 that a bundle repeats (rekor, pkg/types/hashedrekord). */
const HashedRekord = v.object(
  {
    kind: v.literal('hashedrekord', 'it is not of the kind hashedrekord'),
    apiVersion: v.literal('0.0.1', 'it is not of version 0.0.1'),
    spec: v.object(
      {
        data: v.object(
          {
            hash: v.object(
              {
                algorithm: v.literal('sha256', 'its hash is not SHA-256'),
                value: v.pipe(
                  v.string('a string is expected'),
                  v.regex(/^[0-9a-f]{64}$/, 'a SHA-256 in hexadecimal is expected'),
                ),
              },
              MEMBERS,
            ),
          },
          MEMBERS,
        ),
      },
      MEMBERS,
    ),
  },
  MEMBERS,
)

/**
 * Converts a keyless signature of cosign 1 or 2 into a Sigstore bundle v0.1 (sigstore/protobuf-specs,
 * `sigstore_bundle.proto`) for `verifyCertificateBundle`, which verifies it. Nothing is verified here; the bundle
 * states what the log entry states.
 *
 * @param what names the signature in errors.
 * @throws AirgapError `INVALID_CONTENT`
 */
export function bundleOfCosignParts(
  { signature, certificatePem, rekorBundle, timestamp }: CosignParts,
  what: string,
): Bundle {
  checkCase(rekorBundle, ['SignedEntryTimestamp', 'Payload'], what)
  const { SignedEntryTimestamp, Payload } = checkShape(RekorBundle, rekorBundle, `${what}: its log entry`)
  checkCase((rekorBundle as { Payload: unknown }).Payload, Object.keys(Payload), what)
  const body = Buffer.from(Payload.body, 'base64')
  const entry = `${what}: the body of its log entry`
  const { kind, apiVersion, spec } = checkShape(HashedRekord, parseStrictJson(body, entry), entry)
  return BundleMessage.fromJSON({
    mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.1',
    verificationMaterial: {
      x509CertificateChain: {
        certificates: [{ rawBytes: certificateOf(certificatePem, what).toString('base64') }],
      },
      tlogEntries: [
        {
          logIndex: String(Payload.logIndex),
          logId: { keyId: Buffer.from(Payload.logID, 'hex').toString('base64') },
          kindVersion: { kind, version: apiVersion },
          integratedTime: String(Payload.integratedTime),
          inclusionPromise: { signedEntryTimestamp: SignedEntryTimestamp },
          canonicalizedBody: Payload.body,
        },
      ],
      ...(timestamp
        ? {
            timestampVerificationData: {
              rfc3161Timestamps: [{ signedTimestamp: Buffer.from(timestamp).toString('base64') }],
            },
          }
        : {}),
    },
    messageSignature: {
      messageDigest: {
        algorithm: 'SHA2_256',
        digest: Buffer.from(spec.data.hash.value, 'hex').toString('base64'),
      },
      signature: Buffer.from(signature).toString('base64'),
    },
  }) as Bundle
}

/**
 * Converts the certificate, signature and log entry of cosign 2's `{base64Signature, cert, rekorBundle}` into a
 * Sigstore bundle as JSON.
 *
 * @param cert PEM, or PEM in base64. cosign may put a public key there.
 * @returns undefined if `cert` is not a certificate: then the signature is by a key.
 * @throws AirgapError `INVALID_CONTENT`
 */
export function fromOldCosignBundle(
  { signature, cert, rekorBundle }: { signature: Uint8Array; cert: string; rekorBundle: unknown },
  what: string,
): Buffer | undefined {
  const pem = (decodeBase64(cert) ?? Buffer.from(cert)).toString('latin1')
  if (pemBlocks(Buffer.from(pem, 'latin1')).some(({ label }) => label === 'PUBLIC KEY')) return undefined
  if (rekorBundle === undefined || rekorBundle === null) {
    throw new AirgapError(
      'INVALID_CONTENT',
      `it contains a signature with a certificate, but not the log entry (rekorBundle) that such a signature needs`,
      { subject: what },
    )
  }
  const bundle = bundleOfCosignParts({ signature, certificatePem: pem, rekorBundle }, what)
  return Buffer.from(`${JSON.stringify(bundleToJSON(bundle))}\n`)
}

function certificateOf(pem: string, what: string): Buffer {
  const [block, ...others] = pemBlocks(Buffer.from(pem))
  if (block?.label === 'CERTIFICATE' && block.der && others.length === 0) return block.der
  throw new AirgapError('INVALID_CONTENT', `its certificate is not a single PEM certificate`, {
    subject: what,
  })
}

/** Needed because Go matches names in any case. */
function checkCase(value: unknown, known: readonly string[], what: string): void {
  if (typeof value === 'object' && value !== null) checkKeyCase(value, known, what)
}
