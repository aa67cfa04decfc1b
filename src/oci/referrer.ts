import type { Descriptor, ManifestOrIndex } from './manifest.ts'

/** What of all that refers to an image travels along with it. */
export const REFERRER_CHOICES = ['all', 'signatures', 'none'] as const
export type ReferrerChoice = (typeof REFERRER_CHOICES)[number]

/**
 * A manifest or index as it stands in a list of referrers (OCI distribution-spec § Listing Referrers): a missing
 * artifactType is the config's media type.
 */
export function referrerOf(document: ManifestOrIndex): Descriptor {
  const artifactType =
    document.artifactType || (document.kind === 'manifest' ? document.config.mediaType : undefined)
  return {
    mediaType: document.mediaType,
    digest: document.digest,
    size: document.bytes.length,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(document.annotations === undefined ? {} : { annotations: document.annotations }),
  }
}
