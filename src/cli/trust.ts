import { AirgapError } from '../errors.ts'
import { readSmallFile } from '../files/small-file.ts'
import { isDigest, digestFault, type Digest } from '../oci/digest.ts'
import type { TrustOptions } from '../transfer/check/authenticate.ts'

/** The values of `trustFlags`. */
export interface TrustFlagValues {
  key?: string[] | undefined
  signature?: string[] | undefined
  'expect-digest'?: string | undefined
  'expect-name'?: string | undefined
  'min-sequence'?: number | undefined
}

const MAX_SIGNATURE_FILE = 1024 * 1024

/**
 * What the caller trusts, from the flags alone.
 *
 * @param unauthenticated the command's flag for doing without a signature.
 * @throws AirgapError `USAGE` when neither is given, or both; `FILE` or `INVALID_KEY` for bad key files.
 */
export async function trustFrom(
  flags: TrustFlagValues,
  unauthenticated: { flag: string; isSet: boolean },
): Promise<TrustOptions> {
  const keys = flags.key ?? []
  if (keys.length > 0 && unauthenticated.isSet) {
    throw new AirgapError('USAGE', `--key and ${unauthenticated.flag} exclude each other`)
  }
  if (keys.length === 0 && !unauthenticated.isSet) {
    throw new AirgapError('USAGE', 'no key is given to check the bundle with', {
      hint: `Give the public key that the packer handed over by another way: --key airgap.pub. Without one nobody knows who made the bundle; if that is all right, say so with ${unauthenticated.flag}.`,
    })
  }
  if ((flags.signature ?? []).length > 0 && keys.length === 0) {
    throw new AirgapError('USAGE', '--signature needs the --key that it is to be checked with')
  }
  const { readPublicKey } = await import('../trust/keys.ts')
  const { parseDetachedSignature } = await import('../trust/detached.ts')
  return {
    keys: await Promise.all(keys.map((file) => readPublicKey(file))),
    unauthenticated: unauthenticated.isSet,
    signatures: await Promise.all(
      (flags.signature ?? []).map(async (file) => ({
        file,
        signature: parseDetachedSignature(await readSmallFile(file, MAX_SIGNATURE_FILE), file),
      })),
    ),
    expectDigest: parseExpectedDigest(flags['expect-digest']),
    expectName: flags['expect-name'],
    minSequence: flags['min-sequence'],
    now: Date.now(),
  }
}

/** With or without `sha256:`, in either case of letters, as people paste it. */
function parseExpectedDigest(text: string | undefined): Digest | undefined {
  if (text === undefined) return undefined
  const digest = `sha256:${text
    .trim()
    .toLowerCase()
    .replace(/^sha256:/, '')}`
  if (isDigest(digest)) return digest
  throw new AirgapError('INVALID_DIGEST', `--expect-digest ${text}: ${digestFault(digest)}`)
}
