import * as v from 'valibot'
import { cosignTag, COSIGN_KINDS, isSignatureType, parseCosignTag } from '../oci/cosign.ts'
import type { Digest } from '../oci/digest.ts'
import { compareBytes } from '../oci/json.ts'
import { isManifestOrIndexType, MAX_ARTIFACT_TYPE } from '../oci/media-types.ts'
import type { ReferrerChoice } from '../oci/manifest.ts'
import { described, digest, wholeNumber, type Known } from './fields.ts'

/** The feature that a bundle requires of its reader if it holds referrers. */
export const REFERRERS_FEATURE = 'referrers'

/** More signatures, attestations and SBOMs than any real image has. With more, somebody is trying to fill the bundle. */
export const MAX_REFERRERS_OF_IMAGE = 1000

export const ReferrerSchema = v.looseObject({
  subject: described(
    digest,
    'What it refers to: `sourceDigest`, a manifest or index of the image, or another entry of this list',
  ),
  digest: described(digest, 'Its own manifest or index'),
  mediaType: v.pipe(
    v.string(),
    v.check(isManifestOrIndexType, 'must be the media type of a manifest or an index'),
  ),
  artifactType: v.optional(
    described(
      v.pipe(v.string(), v.maxLength(MAX_ARTIFACT_TYPE, 'is too long')),
      'What it is, according to its manifest',
    ),
  ),
  size: described(wholeNumber, 'Bytes of everything that `digest` reaches, each blob counted once'),
  tag: v.optional(
    described(
      v.pipe(
        v.string(),
        v.check((tag) => parseCosignTag(tag) !== undefined, 'must be a cosign tag'),
      ),
      'The cosign tag under which it was found: sha256-<hex of subject>.sig, .att or .sbom',
    ),
  ),
})

/** A referrer in a bundle: a signature, an attestation, an SBOM. */
export type ReferrerEntry = Known<v.InferOutput<typeof ReferrerSchema>>

/** `airgap.json` and the lock share it. */
export const ReferrersSchema = described(
  v.pipe(
    v.array(ReferrerSchema),
    v.minLength(1, 'must not be empty'),
    v.maxLength(MAX_REFERRERS_OF_IMAGE, `has more than ${MAX_REFERRERS_OF_IMAGE} items`),
    v.check((all) => areSorted(all), 'must be sorted by subject, tag and digest, without duplicates'),
    v.check(
      (all) => all.every(({ tag, subject }) => tag === undefined || parseCosignTag(tag)?.subject === subject),
      'has a cosign tag of another digest than its subject',
    ),
  ),
  'Referrers of the image in the bundle: signatures, attestations, SBOMs and others; absent if there are none',
)

export const REFERRER_KEYS = Object.keys(ReferrerSchema.entries)

/** An entry without the fields that later releases may have added. */
export function knownFields({
  subject,
  digest: own,
  mediaType,
  artifactType,
  size,
  tag,
}: ReferrerEntry): ReferrerEntry {
  return {
    subject,
    digest: own,
    mediaType,
    ...(artifactType === undefined ? {} : { artifactType }),
    size,
    ...(tag === undefined ? {} : { tag }),
  }
}

/** Sorts by subject, then tag (those without one first), then digest. */
export function sortReferrers(all: readonly ReferrerEntry[]): ReferrerEntry[] {
  return all.toSorted(compare)
}

function areSorted(all: readonly ReferrerEntry[]): boolean {
  return all.every((one, i) => i === 0 || compare(all[i - 1] as ReferrerEntry, one) < 0)
}

function compare(a: ReferrerEntry, b: ReferrerEntry): number {
  return (
    compareBytes(a.subject, b.subject) ||
    compareBytes(a.tag ?? '', b.tag ?? '') ||
    compareBytes(a.digest, b.digest)
  )
}

/** Whether a referrer belongs to a choice. `signatures` means those that, by their tag or type, can be signatures. */
export function isChosen(
  { tag, artifactType }: Pick<ReferrerEntry, 'tag' | 'artifactType'>,
  choice: ReferrerChoice,
): boolean {
  if (choice !== 'signatures') return choice === 'all'
  return tag === undefined ? isSignatureType(artifactType) : parseCosignTag(tag)?.kind === 'sig'
}

/** The cosign tags of a digest that belong to a choice. */
export function cosignTagsOf(subject: Digest, choice: ReferrerChoice): string[] {
  return COSIGN_KINDS.map((kind) => cosignTag(subject, kind)).filter((tag) => isChosen({ tag }, choice))
}

/** The referrers that refer to one of `roots`, directly or through other referrers. A subject comes before its referrers. */
export function rooted(all: readonly ReferrerEntry[], roots: Iterable<Digest>): ReferrerEntry[] {
  const bySubject = Map.groupBy(all, ({ subject }) => subject)
  const reached = new Set<ReferrerEntry>()
  const open = [...roots]
  const seen = new Set<Digest>(open)
  // The list grows during the loop.
  for (const subject of open) {
    for (const entry of bySubject.get(subject) ?? []) {
      reached.add(entry)
      if (seen.has(entry.digest)) continue
      seen.add(entry.digest)
      open.push(entry.digest)
    }
  }
  return [...reached]
}

/** The referrers that refer to none of `roots`, not even through other referrers. */
export function unrooted(all: readonly ReferrerEntry[], roots: Iterable<Digest>): ReferrerEntry[] {
  const reached = new Set(rooted(all, roots))
  return all.filter((entry) => !reached.has(entry))
}
