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

/** Maximum size of a Sigstore bundle, in bytes. */
export const BUNDLE_JSON_LIMIT = 1024 * 1024

/** A Sigstore bundle with a signature over a message by a key, without a certificate. */
export interface KeyBundle {
  ok: true
  /** For the library; without log entries and timestamps, which prove nothing for a key without a certificate. */
  bundle: Bundle
  /** The key as named by the bundle; not authenticated, and often empty. */
  hint: string
  /** The hash algorithm that the bundle states. */
  hash: SignatureHash
  /** The hash that the bundle states. */
  digest: Buffer
  /** The raw signature. */
  signature: Buffer
}

/** Why a Sigstore bundle does not contain a signature by a key. */
export interface NoKeyBundle {
  ok: false
  fault: 'malformed' | 'certificate'
  reason: string
}

/** The hashes used with accepted kinds of keys, by their names in bundles. */
const HASHES = { SHA2_256: 'sha256', SHA2_384: 'sha384' } as const satisfies Record<string, SignatureHash>
const HASH_BYTES = { SHA2_256: 32, SHA2_384: 48 }

const MEMBERS = 'a member is missing, unknown or of the wrong kind'

/** What a bundle says about its key. */
export const KeyMaterialShape = v.strictObject(
  {
    publicKey: v.strictObject({ hint: v.optional(v.string('a string is expected')) }, MEMBERS),
    tlogEntries: v.optional(v.array(v.unknown(), 'a list is expected')),
    timestampVerificationData: v.optional(v.unknown()),
  },
  MEMBERS,
)

// Only the members of the protobuf messages, like Go's decoder. Strings must be strings: the library would convert an
// array.
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
            'the digest does not have the length of that algorithm',
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
 * Parses a Sigstore bundle (sigstore/protobuf-specs, `sigstore_bundle.proto`) that must contain a message signature by
 * a key. Never throws, whatever the bytes are.
 *
 * We must insist on a key: the library verifies a bundle by what it contains, so it would verify one with a certificate
 * against certificate authorities and never against the key.
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
    // The try block only parses bytes from outside. The libraries throw plain errors and TypeErrors, whose texts are
    // not for users.
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

/** Gives a better reason than the schema for a sound bundle that is not a key signature. */
function otherContent(value: unknown): NoKeyBundle | undefined {
  const material = member(value, 'verificationMaterial')
  const certified = has(material, 'certificate') || has(material, 'x509CertificateChain')
  if (certified && has(material, 'publicKey')) {
    return malformed('it names both a key and a certificate as its signer')
  }
  if (certified) return certificate()
  if (has(value, 'dsseEnvelope')) {
    return has(value, 'messageSignature')
      ? malformed('it contains both a message signature and an attestation')
      : attestation()
  }
  return undefined
}

function certificate(): NoKeyBundle {
  return {
    ok: false,
    fault: 'certificate',
    reason:
      'it was made with a certificate (keyless signing), but a signature by a key is required; ' +
      'a key cannot verify a keyless signature',
  }
}

function attestation(): NoKeyBundle {
  return malformed('it contains an attestation (DSSE envelope), not a signature over these bytes')
}

function malformed(reason: string): NoKeyBundle {
  return { ok: false, fault: 'malformed', reason: `it is not a usable Sigstore bundle: ${printable(reason)}` }
}

/** Escapes everything but plain ASCII, because reasons may quote the file. */
function printable(text: string): string {
  return text.slice(0, 300).replace(/[^\x20-\x7e]/g, (char) => {
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}
