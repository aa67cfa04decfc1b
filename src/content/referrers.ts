import type { ReferrerEntry } from '../bundle/referrers.ts'
import { MAX_ARTIFACT_TYPE } from '../oci/media-types.ts'
import { cosignFault, parseCosignTag } from '../oci/cosign.ts'
import type { Digest } from '../oci/digest.ts'
import { type ManifestOrIndex, referrerOf } from '../oci/manifest.ts'
import { closureSize, type Closure } from './graph.ts'

/** Something that refers to an image, with everything that its digest reaches. */
export interface ReferrerGraph {
  entry: ReferrerEntry
  closure: Closure
}

/** How a manifest came to be taken for something that refers to a digest. */
export interface Found {
  subject: Digest
  /** One of cosign's, where that led to it. */
  tag?: string | undefined
}

/**
 * Why a document is not what it was found as; undefined where it is. Lists of referrers and tags are not
 * authenticated: what is found by a list has to name its subject itself, so that nothing that was made for another
 * image is shown beside this one; what cosign's tag leads to has to look like what cosign puts there.
 */
export function referrerFault(document: ManifestOrIndex, { subject, tag }: Found): string | undefined {
  if (tag !== undefined) {
    const parsed = parseCosignTag(tag)
    return parsed ? cosignFault(document, parsed) : "its tag is none of cosign's"
  }
  if ((referrerOf(document).artifactType ?? '').length > MAX_ARTIFACT_TYPE)
    return 'its artifactType is too long'
  const own = document.subject?.digest
  if (own === subject) return undefined
  return own === undefined ? 'it refers to nothing' : `it refers to ${own}`
}

/** A referrer as `airgap.json` and lock have it; everything follows from its own documents. */
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

/** In which field an entry says otherwise than the documents; undefined where it says the same. */
export function otherField(says: ReferrerEntry, is: ReferrerEntry): keyof ReferrerEntry | undefined {
  const fields = ['subject', 'digest', 'mediaType', 'artifactType', 'size', 'tag'] as const
  return fields.find((field) => says[field] !== is[field])
}

/** What other digests of an image can be referred to: its source's, and those of all its manifests and indexes. */
export function rootsOf(
  { sourceDigest }: { sourceDigest: Digest },
  closure: Pick<Closure, 'documents'>,
): Set<Digest> {
  return new Set([sourceDigest, ...closure.documents.keys()])
}
