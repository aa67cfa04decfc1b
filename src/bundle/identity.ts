import type { Digest } from '../oci/digest.ts'
import type { BundleDescription, BundleIdentity } from './description.ts'

/** Names a bundle by its digest and what its description says. */
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
