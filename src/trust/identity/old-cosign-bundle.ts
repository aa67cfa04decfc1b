import { bundleToJSON, type Bundle } from '@sigstore/bundle'
import { Bundle as BundleMessage } from '@sigstore/protobuf-specs'
import * as v from 'valibot'
import { AirgapError } from '../../errors.ts'
import { checkKeyCase, checkShape, parseStrictJson } from '../../oci/json.ts'
import { base64Text, decodeBase64, pemBlocks } from '../pem.ts'

/** What cosign 1 and 2 kept of a keyless signature: in their own JSON, or as annotations of a layer. */
export interface CosignParts {
  /** The signature alone: DER for ECDSA. */
  signature: Uint8Array
  /** The signer's certificate, one PEM block. Its chain is not wanted: only the trusted root's certificates count. */
  certificatePem: string
  /** The log's answer, `{ SignedEntryTimestamp, Payload }`, as {@link parseStrictJson} has it. */
  rekorBundle: unknown
  /** A timestamp of an authority over the signature (RFC 3161), DER. */
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
    kind: v.literal('hashedrekord', 'it is of another kind than hashedrekord'),
    apiVersion: v.literal('0.0.1', 'it is of another version than 0.0.1'),
    spec: v.object(
      {
        data: v.object(
          {
            hash: v.object(
              {
                algorithm: v.literal('sha256', 'its hash is another than SHA-256'),
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
 * Puts a keyless signature of cosign 1 or 2 into a Sigstore bundle v0.1 (sigstore/protobuf-specs,
 * `sigstore_bundle.proto`), which `verifyCertificateBundle` takes. Nothing is verified here: what the bundle says of
 * itself is what the log entry says, and is compared with the content there.
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
 * Turns the certificate, signature and log entry of cosign 2's `{base64Signature, cert, rekorBundle}` into a Sigstore
 * bundle as JSON.
 *
 * @param cert what stands there: PEM, or that in base64. cosign puts a bare public key there, too.
 * @returns nothing when `cert` holds no certificate: then the signature is one by a key.
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
      `it holds a signature by a certificate, and no log entry (rekorBundle), which such a signature needs`,
      { subject: what },
    )
  }
  const bundle = bundleOfCosignParts({ signature, certificatePem: pem, rekorBundle }, what)
  return Buffer.from(`${JSON.stringify(bundleToJSON(bundle))}\n`)
}

function certificateOf(pem: string, what: string): Buffer {
  const [block, ...others] = pemBlocks(Buffer.from(pem))
  if (block?.label === 'CERTIFICATE' && block.der && others.length === 0) return block.der
  throw new AirgapError('INVALID_CONTENT', `its certificate is not one certificate in PEM`, { subject: what })
}

/** Go matches names in any case. */
function checkCase(value: unknown, known: readonly string[], what: string): void {
  if (typeof value === 'object' && value !== null) checkKeyCase(value, known, what)
}
