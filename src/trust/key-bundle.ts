import {
  bundleFromJSON,
  isBundleWithMessageSignature,
  isBundleWithPublicKey,
  type Bundle,
} from '@sigstore/bundle'
import * as v from 'valibot'
import { AirgapError } from '../errors.ts'
import { checkShape, parseStrictJson } from '../oci/json.ts'
import { base64Text } from './pem.ts'
import { BUNDLE_MEDIA_TYPES } from './bundle-types.ts'
import type { SignatureHash } from './key-kinds.ts'
import { has, member } from './members.ts'

/** The most that a Sigstore bundle may take. */
export const BUNDLE_JSON_LIMIT = 1024 * 1024

/** A Sigstore bundle that holds a signature by a bare key over a message. */
export interface KeyBundle {
  ok: true
  /** For the library; without log entries and timestamps, which say nothing about a bare key. */
  bundle: Bundle
  /** What the bundle says its key is; unauthenticated, and often empty. */
  hint: string
  /** The hash that the bundle says it signs, */
  hash: SignatureHash
  /** and its value. */
  digest: Buffer
  /** The signature alone. */
  signature: Buffer
}

/** Why a Sigstore bundle is none with a key signature. */
export interface NoKeyBundle {
  ok: false
  fault: 'malformed' | 'certificate'
  reason: string
}

/** The hashes that occur with the kinds of key that are accepted, as bundles name them. */
const HASHES = { SHA2_256: 'sha256', SHA2_384: 'sha384' } as const satisfies Record<string, SignatureHash>
const HASH_BYTES = { SHA2_256: 32, SHA2_384: 48 }

const MEMBERS = 'a member is missing, unknown or of the wrong kind'

/** What a bundle with a signature by a bare key says of the key. */
export const KeyMaterialShape = v.strictObject(
  {
    publicKey: v.strictObject({ hint: v.optional(v.string('a string is expected')) }, MEMBERS),
    tlogEntries: v.optional(v.array(v.unknown(), 'a list is expected')),
    timestampVerificationData: v.optional(v.unknown()),
  },
  MEMBERS,
)

// The members of the protobuf messages and no others, as Go's decoder has it. Strings only where strings
// belong: the library would turn an array into one.
const KeyBundleShape = v.strictObject(
  {
    mediaType: v.picklist(BUNDLE_MEDIA_TYPES, 'it is not a known kind of Sigstore bundle'),
    verificationMaterial: KeyMaterialShape,
    messageSignature: v.strictObject(
      {
        messageDigest: v.pipe(
          v.strictObject(
            {
              algorithm: v.picklist(['SHA2_256', 'SHA2_384'], 'only SHA2_256 and SHA2_384 are accepted'),
              digest: base64Text,
            },
            MEMBERS,
          ),
          v.check(
            ({ algorithm, digest }) => Buffer.from(digest, 'base64').length === HASH_BYTES[algorithm],
            'the digest is not as long as one of that algorithm',
          ),
        ),
        signature: base64Text,
      },
      MEMBERS,
    ),
  },
  MEMBERS,
)

/**
 * Reads a Sigstore bundle (sigstore/protobuf-specs, `sigstore_bundle.proto`) that must hold a message
 * signature by a bare key. Never throws for anything that the bytes may hold.
 *
 * The insistence on a key is ours: the library verifies a bundle by whatever it holds, so one with a
 * certificate would be measured against certificate authorities and never against the key.
 */
export function readKeyBundle(json: Uint8Array): KeyBundle | NoKeyBundle {
  if (json.length > BUNDLE_JSON_LIMIT) return malformed('it is larger than 1 MiB')
  try {
    const value = parseStrictJson(json, 'Sigstore bundle')
    const other = otherContent(value)
    if (other) return other
    const shape = checkShape(KeyBundleShape, value, 'Sigstore bundle')
    return toKeyBundle(bundleFromJSON(shape), HASHES[shape.messageSignature.messageDigest.algorithm])
  } catch (error) {
    // Everything in the try block is a parser at work on foreign bytes; the libraries among them throw
    // plain errors and TypeErrors too, whose texts are not for operators.
    if (error instanceof AirgapError) return malformed(error.reason)
    return malformed('its contents do not make a Sigstore bundle')
  }
}

function toKeyBundle(bundle: Bundle, hash: SignatureHash): KeyBundle | NoKeyBundle {
  if (!isBundleWithPublicKey(bundle)) return certificate()
  if (!isBundleWithMessageSignature(bundle)) return attestation()
  const { messageDigest, signature } = bundle.content.messageSignature
  const material = { ...bundle.verificationMaterial, tlogEntries: [], timestampVerificationData: undefined }
  return {
    ok: true,
    bundle: { ...bundle, verificationMaterial: material },
    hint: bundle.verificationMaterial.content.publicKey.hint,
    hash,
    digest: messageDigest.digest,
    signature,
  }
}

/** What is sound and not a key signature deserves a better answer than a schema's. */
function otherContent(value: unknown): NoKeyBundle | undefined {
  const material = member(value, 'verificationMaterial')
  const certified = has(material, 'certificate') || has(material, 'x509CertificateChain')
  if (certified && has(material, 'publicKey')) {
    return malformed('it names both a key and a certificate as its signer')
  }
  if (certified) return certificate()
  if (has(value, 'dsseEnvelope')) {
    return has(value, 'messageSignature')
      ? malformed('it holds both a message signature and an attestation')
      : attestation()
  }
  return undefined
}

function certificate(): NoKeyBundle {
  return {
    ok: false,
    fault: 'certificate',
    reason:
      'it was made with a certificate (keyless signing) where a signature by a key is required; ' +
      'a key checks no keyless signature, whoever made it',
  }
}

function attestation(): NoKeyBundle {
  return malformed('it holds an attestation (DSSE envelope), not a signature over these bytes')
}

function malformed(reason: string): NoKeyBundle {
  return { ok: false, fault: 'malformed', reason: `it is not a usable Sigstore bundle: ${printable(reason)}` }
}

/** Reasons may quote the file: nothing of it but plain characters reaches the reader. */
function printable(text: string): string {
  return text.slice(0, 300).replace(/[^\x20-\x7e]/g, (char) => {
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}
