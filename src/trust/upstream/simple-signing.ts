import * as v from 'valibot'
import { AirgapError } from '../../errors.ts'
import { isDigest, type Digest } from '../../oci/digest.ts'
import { checkKeyCase, checkShape, parseStrictJson } from '../../oci/json.ts'
import type { Refused } from '../identity/certificate-bundle.ts'

/** In bytes. cosign's own payloads have about 250. */
export const MAX_PAYLOAD = 64 * 1024

/** The content of a cosign payload. */
export interface SimpleSigning {
  ok: true
  /** Digest of the manifest or index. */
  digest: Digest
  /** The signer's name for the image; may be empty. */
  reference: string
}

const MEMBERS = 'a member is missing, unknown or of the wrong kind'

// Verifiers must understand everything in `critical`; `optional` may be anything.
const Payload = v.strictObject(
  {
    critical: v.strictObject(
      {
        identity: v.strictObject({ 'docker-reference': v.string('a string is expected') }, MEMBERS),
        image: v.strictObject(
          {
            'docker-manifest-digest': v.custom<Digest>(isDigest, 'a SHA-256 digest is expected'),
          },
          MEMBERS,
        ),
        type: v.literal('cosign container image signature', 'its type is not that of an image signature'),
      },
      MEMBERS,
    ),
    optional: v.optional(v.unknown()),
  },
  MEMBERS,
)

/** Keys that Go's decoder would match in any case, by the path to their object. */
const KNOWN: readonly (readonly [path: readonly string[], keys: readonly string[]])[] = [
  [[], ['critical', 'optional']],
  [['critical'], ['identity', 'image', 'type']],
  [['critical', 'identity'], ['docker-reference']],
  [['critical', 'image'], ['docker-manifest-digest']],
]

/**
 * Parses what cosign signs for an image (sigstore/cosign, specs/SIGNATURE_SPEC.md § Payload): containers/image's
 * "simple signing" with its own type. Never throws, whatever the bytes are.
 */
export function parseUpstreamSigning(bytes: Uint8Array): SimpleSigning | Refused {
  const what = 'its payload'
  if (bytes.length > MAX_PAYLOAD) return { ok: false, reason: `${what} is larger than 64 KiB` }
  try {
    const value = parseStrictJson(bytes, what)
    for (const [path, keys] of KNOWN) {
      const part = memberAt(value, path)
      if (typeof part === 'object' && part !== null) checkKeyCase(part, keys, what)
    }
    const { critical } = checkShape(Payload, value, what)
    return {
      ok: true,
      digest: critical.image['docker-manifest-digest'],
      reference: critical.identity['docker-reference'],
    }
  } catch (error) {
    if (error instanceof AirgapError) return { ok: false, reason: error.message }
    throw error
  }
}

function memberAt(value: unknown, path: readonly string[]): unknown {
  let part = value
  for (const key of path) {
    if (typeof part !== 'object' || part === null || !Object.hasOwn(part, key)) return undefined
    part = (part as Record<string, unknown>)[key]
  }
  return part
}
