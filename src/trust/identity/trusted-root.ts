import { TrustedRoot } from '@sigstore/protobuf-specs'
import { toTrustMaterial, VerificationError, type TrustMaterial } from '@sigstore/verify'
import * as v from 'valibot'
import { AirgapError } from '../../errors.ts'
import { readSmallFile } from '../../files/small-file.ts'
import { digestOf, type Digest } from '../../oci/digest.ts'
import { checkShape, parseStrictJson } from '../../oci/json.ts'
import { base64Text } from '../pem.ts'
import { CertificateShape, list, MEMBERS, text, TimeRange } from '../protobuf-json.ts'

/** Certificate authorities, logs and timestamp authorities that the caller trusts. */
export interface Root {
  /** The file, for messages. */
  source: string
  /** SHA-256 of the file's bytes. */
  digest: Digest
  /** Start of validity of its newest part, in milliseconds since 1970: the file is from then or later. 0 if unknown. */
  newest: number
  material: TrustMaterial
}

/** The root, for messages. */
export function rootInWords({ source, newest }: Root): string {
  const day = new Date(newest).toISOString().slice(0, 10)
  return newest > 0 ? `${source}, its newest part is from ${day}` : source
}

/** In bytes. That of the public good instance has 7 KiB. */
export const MAX_TRUSTED_ROOT = 4 * 1024 * 1024

const MEDIA_TYPES: ReadonlySet<string> = new Set([
  'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
  'application/vnd.dev.sigstore.trustedroot.v0.2+json',
])

/** The public good instance had at most two of each in five years. */
const MAX_INSTANCES = 256
const MAX_CHAIN = 16

const LogIdShape = v.strictObject({ keyId: base64Text }, MEMBERS)

const LogShape = v.strictObject(
  {
    baseUrl: v.nullish(text),
    hashAlgorithm: v.literal('SHA2_256', 'only SHA2_256 is known'),
    publicKey: v.strictObject({ rawBytes: base64Text, keyDetails: text, validFor: TimeRange }, MEMBERS),
    logId: LogIdShape,
    checkpointKeyId: v.nullish(LogIdShape),
    operator: v.nullish(text),
  },
  MEMBERS,
)

const AuthorityShape = v.strictObject(
  {
    subject: v.nullish(
      v.strictObject({ organization: v.nullish(text), commonName: v.nullish(text) }, MEMBERS),
    ),
    uri: v.nullish(text),
    certChain: v.strictObject(
      { certificates: v.pipe(list(CertificateShape, MAX_CHAIN), v.minLength(1, 'it is empty')) },
      MEMBERS,
    ),
    validFor: TimeRange,
    operator: v.nullish(text),
  },
  MEMBERS,
)

const RootShape = v.strictObject(
  {
    mediaType: text,
    tlogs: v.nullish(list(LogShape, MAX_INSTANCES)),
    certificateAuthorities: v.nullish(list(AuthorityShape, MAX_INSTANCES)),
    ctlogs: v.nullish(list(LogShape, MAX_INSTANCES)),
    timestampAuthorities: v.nullish(list(AuthorityShape, MAX_INSTANCES)),
  },
  MEMBERS,
)

/**
 * Reads a trusted root (sigstore/protobuf-specs, `sigstore_trustroot.proto`) from a file: strict JSON with only the
 * members of these messages, and a start of validity for each authority and log.
 * @throws AirgapError `FILE`, `INVALID_CONTENT`
 */
export async function readTrustedRoot(path: string): Promise<Root> {
  return parseTrustedRoot(await readSmallFile(path, MAX_TRUSTED_ROOT, 'trusted root'), path)
}

/**
 * Parses a trusted root, in the same format as {@link readTrustedRoot}.
 * @throws AirgapError `INVALID_CONTENT`
 */
export function parseTrustedRoot(bytes: Uint8Array, source: string): Root {
  const value = parseStrictJson(bytes, source)
  const mediaType =
    typeof value === 'object' && value !== null && 'mediaType' in value ? value.mediaType : undefined
  if (typeof mediaType !== 'string' || !MEDIA_TYPES.has(mediaType)) {
    throw new AirgapError('INVALID_CONTENT', `${source} is not a trusted root of Sigstore`, {
      hint: ['A trusted root is the trusted_root.json of Sigstore.', { id: 'fetch-trusted-root' }],
    })
  }
  const noKey = (): never => {
    throw new VerificationError({ code: 'PUBLIC_KEY_ERROR', message: 'a root has no keys of signers' })
  }
  let root: Root
  try {
    checkShape(RootShape, value, `${source} cannot be read as a trusted root of Sigstore`)
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    throw new AirgapError('INVALID_CONTENT', error.message, {
      hint: 'Every authority and log must say since when it is valid (validFor, with a start), and unknown members are not allowed. Use the trusted_root.json of the instance unchanged.',
      cause: error,
    })
  }
  try {
    const parsed = TrustedRoot.fromJSON(value)
    root = {
      source,
      digest: digestOf(bytes),
      newest: newestStart(parsed),
      material: toTrustMaterial(parsed, noKey),
    }
  } catch (error) {
    // The library passes on any error of its parsers.
    throw new AirgapError('INVALID_CONTENT', `${source} cannot be read as a trusted root of Sigstore`, {
      hint: 'The file is damaged, or in a format that this release does not know.',
      cause: error,
    })
  }
  const { certificateAuthorities, ctlogs, tlogs } = root.material
  const missing = [
    ...(certificateAuthorities.length === 0 ? ['a certificate authority'] : []),
    ...(ctlogs.length === 0 ? ['a certificate log'] : []),
    ...(tlogs.length === 0 ? ['a transparency log'] : []),
  ]
  if (missing.length === 0) return root
  throw new AirgapError(
    'INVALID_CONTENT',
    `${source} lacks ${missing.join(' and ')}: nothing can be checked with it`,
    {
      hint: 'A trusted root for certificates has all three. Use the complete trusted_root.json of the instance that signs.',
    },
  )
}

function newestStart(root: TrustedRoot): number {
  const starts = [
    ...[...root.tlogs, ...root.ctlogs].map(({ publicKey }) => publicKey?.validFor?.start),
    ...[...root.certificateAuthorities, ...root.timestampAuthorities].map(({ validFor }) => validFor?.start),
  ]
  return Math.max(0, ...starts.map((start) => start?.getTime() ?? 0).filter(Number.isFinite))
}
