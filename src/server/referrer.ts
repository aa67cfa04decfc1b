import type { Descriptor, ManifestOrIndex } from '../oci/manifest.ts'

/** OCI distribution-spec § Listing Referrers: the config's media type stands in for a missing artifactType. */
export function referrerOf(document: ManifestOrIndex): Descriptor {
  const artifactType =
    document.artifactType ?? (document.kind === 'manifest' ? document.config.mediaType : undefined)
  return {
    mediaType: document.mediaType,
    digest: document.digest,
    size: document.bytes.length,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(document.annotations === undefined ? {} : { annotations: document.annotations }),
  }
}
