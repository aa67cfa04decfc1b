import type { ReferrerEntry } from '../bundle/referrers.ts'
import { MAX_ARTIFACT_TYPE } from '../oci/media-types.ts'
import { cosignFault, parseCosignTag } from '../oci/cosign.ts'
import type { Digest } from '../oci/digest.ts'
import { type ManifestOrIndex, referrerOf } from '../oci/manifest.ts'
import { closureSize, type Closure } from './graph.ts'

/** A referrer, with everything that can be reached from its digest. */
export interface ReferrerGraph {
  entry: ReferrerEntry
  closure: Closure
}

/** How a referrer was found. */
export interface Found {
  subject: Digest
  /** The cosign tag that led to it, if one did. */
  tag?: string | undefined
}

/**
 * Why a document is not the referrer that it was found as; undefined if it is. Lists of referrers and tags are not
 * authenticated. So a listed manifest must name the subject itself, or else signatures of other images could be shown for
 * this one, and what a cosign tag leads to must look like what cosign stores there.
 */
export function referrerFault(document: ManifestOrIndex, { subject, tag }: Found): string | undefined {
  if (tag !== undefined) {
    const parsed = parseCosignTag(tag)
    return parsed ? cosignFault(document, parsed) : "its tag is not one of cosign's"
  }
  if ((referrerOf(document).artifactType ?? '').length > MAX_ARTIFACT_TYPE)
    return 'its artifactType is too long'
  const own = document.subject?.digest
  if (own === subject) return undefined
  return own === undefined ? 'it refers to nothing' : `it refers to ${own}`
}

/** The entry of a referrer in `airgap.json` and in the lock, made from its documents. */
export function referrerEntry(
  document: ManifestOrIndex,
  closure: Closure,
  { subject, tag }: Found,
): ReferrerEntry {
  const { artifactType } = referrerOf(document)
  return {
    subject,
    digest: document.digest,
    mediaType: document.mediaType,
    ...(artifactType === undefined ? {} : { artifactType }),
    size: closureSize(closure),
    ...(tag === undefined ? {} : { tag }),
  }
}

/** The first field in which an entry differs from the documents; undefined if there is none. */
export function otherField(says: ReferrerEntry, is: ReferrerEntry): keyof ReferrerEntry | undefined {
  const fields = ['subject', 'digest', 'mediaType', 'artifactType', 'size', 'tag'] as const
  return fields.find((field) => says[field] !== is[field])
}

/** The digests of an image that can have referrers: its source's, and those of all its manifests and indexes. */
export function rootsOf(
  { sourceDigest }: { sourceDigest: Digest },
  closure: Pick<Closure, 'documents'>,
): Set<Digest> {
  return new Set([sourceDigest, ...closure.documents.keys()])
}
