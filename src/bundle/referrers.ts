import * as v from 'valibot'
import { cosignTag, COSIGN_KINDS, isSignatureType, parseCosignTag } from '../oci/cosign.ts'
import type { Digest } from '../oci/digest.ts'
import { compareBytes } from '../oci/json.ts'
import { isManifestOrIndexType, MAX_ARTIFACT_TYPE } from '../oci/media-types.ts'
import type { ReferrerChoice } from '../oci/manifest.ts'
import { described, digest, wholeNumber, type Known } from './fields.ts'

/** What a bundle requires of its reader when anything travels along with an image. */
export const REFERRERS_FEATURE = 'referrers'

/** More signatures, attestations and SBOMs than any real image has; beyond it, somebody fills the bundle. */
export const MAX_REFERRERS_OF_IMAGE = 1000

export const ReferrerSchema = v.looseObject({
  subject: described(
    digest,
    "What it refers to: the source's digest, a manifest or index of the image, or another one of this list",
  ),
  digest: described(digest, 'Its own manifest or index'),
  mediaType: v.pipe(
    v.string(),
    v.check(isManifestOrIndexType, 'must be the media type of a manifest or an index'),
  ),
  artifactType: v.optional(
    described(
      v.pipe(v.string(), v.maxLength(MAX_ARTIFACT_TYPE, 'is too long')),
      'What it is, as its own document says',
    ),
  ),
  size: described(wholeNumber, 'Bytes of everything that `digest` reaches, each blob counted once'),
  tag: v.optional(
    described(
      v.pipe(
        v.string(),
        v.check((tag) => parseCosignTag(tag) !== undefined, "must be a tag of cosign's"),
      ),
      "The tag of cosign's by which it was found: sha256-<hex of subject>.sig, .att or .sbom",
    ),
  ),
})

/** One thing that refers to an image and travels along: a signature, an attestation, an SBOM. */
export type ReferrerEntry = Known<v.InferOutput<typeof ReferrerSchema>>

/** Shared by `airgap.json` and the lock. */
export const ReferrersSchema = described(
  v.pipe(
    v.array(ReferrerSchema),
    v.minLength(1, 'is there and names nothing'),
    v.maxLength(MAX_REFERRERS_OF_IMAGE, `names more than ${MAX_REFERRERS_OF_IMAGE}`),
    v.check((all) => areSorted(all), 'must be sorted by subject, tag and digest, each once'),
    v.check(
      (all) => all.every(({ tag, subject }) => tag === undefined || parseCosignTag(tag)?.subject === subject),
      "has a tag of cosign's that belongs to another digest than its subject",
    ),
  ),
  'Signatures, attestations, SBOMs and whatever else refers to the image and travels along; absent where nothing does',
)

export const REFERRER_KEYS = Object.keys(ReferrerSchema.entries)

/** An entry without what later releases may have put into it. */
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

/** In the one order: by subject, then tag (what has none first), then digest. */
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

/** Whether it belongs to a choice; `signatures` are those that are or may be signatures by what they say they are. */
export function isChosen(
  { tag, artifactType }: Pick<ReferrerEntry, 'tag' | 'artifactType'>,
  choice: ReferrerChoice,
): boolean {
  if (choice !== 'signatures') return choice === 'all'
  return tag === undefined ? isSignatureType(artifactType) : parseCosignTag(tag)?.kind === 'sig'
}

/** The tags of cosign's that belong to a choice, for one digest. */
export function cosignTagsOf(subject: Digest, choice: ReferrerChoice): string[] {
  return COSIGN_KINDS.map((kind) => cosignTag(subject, kind)).filter((tag) => isChosen({ tag }, choice))
}

/** Those that lead, one from the other, to one of `roots`; what others refer to stands before them. */
export function rooted(all: readonly ReferrerEntry[], roots: Iterable<Digest>): ReferrerEntry[] {
  const bySubject = Map.groupBy(all, ({ subject }) => subject)
  const reached = new Set<ReferrerEntry>()
  const open = [...roots]
  const seen = new Set<Digest>(open)
  // It grows while it is gone through.
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

/** Those that lead to none of `roots`. */
export function unrooted(all: readonly ReferrerEntry[], roots: Iterable<Digest>): ReferrerEntry[] {
  const reached = new Set(rooted(all, roots))
  return all.filter((entry) => !reached.has(entry))
}
