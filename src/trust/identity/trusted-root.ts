import { createHash } from 'node:crypto'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import { toTrustMaterial, VerificationError, type TrustMaterial } from '@sigstore/verify'
import { AirgapError } from '../../errors.ts'
import { readSmallFile } from '../../files/small-file.ts'
import { parseStrictJson } from '../../oci/json.ts'

/** Certificate authorities, logs and timestamp authorities that the caller trusts. */
export interface Root {
  /** The file that it came from, for messages. */
  source: string
  /** `sha256:` and the SHA-256 of the file's bytes. */
  digest: string
  material: TrustMaterial
}

/** The public good instance's is 7 KiB. Bytes. */
export const MAX_TRUSTED_ROOT = 4 * 1024 * 1024

const MEDIA_TYPES: ReadonlySet<string> = new Set([
  'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
  'application/vnd.dev.sigstore.trustedroot.v0.2+json',
])

/**
 * Reads a trusted root (sigstore/protobuf-specs, `sigstore_trustroot.proto`) from a file of the caller's.
 * @throws AirgapError `FILE`, `INVALID_CONTENT`
 */
export async function readTrustedRoot(path: string): Promise<Root> {
  return parseTrustedRoot(await readSmallFile(path, MAX_TRUSTED_ROOT, 'trusted root'), path)
}

/**
 * Reads a trusted root from memory, as {@link readTrustedRoot} does.
 * @throws AirgapError `INVALID_CONTENT`
 */
export function parseTrustedRoot(bytes: Uint8Array, source: string): Root {
  const value = parseStrictJson(bytes, source)
  const mediaType =
    typeof value === 'object' && value !== null && 'mediaType' in value ? value.mediaType : undefined
  if (typeof mediaType !== 'string' || !MEDIA_TYPES.has(mediaType)) {
    throw new AirgapError('INVALID_CONTENT', `${source} is no trusted root of Sigstore`, {
      hint: 'A trusted root is the trusted_root.json of Sigstore; `airgap trust-root fetch` brings it.',
    })
  }
  const noKey = (): never => {
    throw new VerificationError({ code: 'PUBLIC_KEY_ERROR', message: 'a root holds no keys of signers' })
  }
  try {
    return {
      source,
      digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`,
      material: toTrustMaterial(TrustedRoot.fromJSON(value), noKey),
    }
  } catch (error) {
    // The library throws whatever its parsers throw.
    throw new AirgapError('INVALID_CONTENT', `${source} cannot be read as a trusted root of Sigstore`, {
      hint: 'The file is damaged, or of a kind that this release does not know.',
      cause: error,
    })
  }
}
