import * as v from 'valibot'
import { base64Text } from '../base64.ts'

const MEMBERS = 'a member is missing, unknown or of the wrong kind'

// The members of the protobuf messages and no others, as Go's decoder has it. The library would take strings for
// lists, lists for strings, and any text for base64.
const text = v.string('a string is expected')
/** protobuf's JSON has 64-bit numbers as strings, and allows numbers. */
const int64 = v.union(
  [v.pipe(text, v.regex(/^-?\d{1,19}$/, 'a whole number is expected')), v.pipe(v.number(), v.integer())],
  'a whole number is expected',
)

/** More than any tool writes; few enough that a small file cannot make much work. */
const MAX_PARTS = 16
/** As deep as a tree with 2^64 leaves. */
const MAX_HASHES = 64

function list<S extends v.GenericSchema>(
  item: S,
  most: number,
): v.SchemaWithPipe<
  readonly [v.ArraySchema<S, string>, v.MaxLengthAction<v.InferOutput<S>[], number, string>]
> {
  return v.pipe(v.array(item, 'a list is expected'), v.maxLength(most, `more than ${most} of them`))
}

const CertificateShape = v.strictObject({ rawBytes: base64Text }, MEMBERS)

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
