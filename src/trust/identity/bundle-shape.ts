import * as v from 'valibot'
import { base64Text } from '../base64.ts'
import { CertificateShape, int64, list, MEMBERS, text } from '../protobuf-json.ts'

/** More than any tool writes; few enough that a small file cannot make much work. */
const MAX_PARTS = 16
/** As deep as a tree with 2^64 leaves. */
const MAX_HASHES = 64

const LogEntryShape = v.strictObject(
  {
    // Left out where it is zero.
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
export const CertificateBundleShape = v.pipe(
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
  // One of each pair: in protobuf they exclude each other, and the library takes the one that it asks for first.
  v.check((bundle) => !bundle.messageSignature !== !bundle.dsseEnvelope, 'one content is expected'),
  v.check(
    ({ verificationMaterial: { certificate, x509CertificateChain } }) =>
      !certificate !== !x509CertificateChain,
    'one certificate is expected',
  ),
)
