import type { Digest } from '../oci/digest.ts'
import type { BundleDescription, BundleIdentity } from './description.ts'

/** Takes a bundle's identity from its digest and its description. */
export function bundleIdentity(
  bundleDigest: Digest,
  { name, version, sequence, created, expires }: BundleDescription,
): BundleIdentity {
  return {
    digest: bundleDigest,
    name,
    ...(version === undefined ? {} : { version }),
    sequence,
    created,
    ...(expires === undefined ? {} : { expires }),
  }
}
