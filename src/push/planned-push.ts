import type { Digest } from '../oci/digest.ts'
import type { Amount } from '../content/events.ts'
import { knownFields, type ReferrerEntry } from '../bundle/referrers.ts'
import type { Receipt } from './receipt.ts'
import { bundleIdentity } from '../bundle/identity.ts'
import { AirgapError } from '../errors.ts'
import { authenticationOf } from '../verify/signers.ts'
import type { OpenedBundle } from '../verify/opened-bundle.ts'
import { policyFields } from '../verify/policy-rules.ts'
import { NO_MEMORY } from '../verify/sequences/memory.ts'
import type { SequenceEvidence } from '../verify/opened-bundle.ts'
import { referrerKey } from './referrers/plan.ts'
import { hasSourceIndex } from './source-index.ts'
import {
  mountsOf,
  type PlannedImage,
  type PushPlan,
  tagChange,
  tagName,
  type PlannedReferrer,
} from './planned.ts'

/** What a push will do, in the form of its receipt. */
export interface PlannedPush extends Pick<
  Receipt,
  'policy' | 'rules' | 'clock' | 'sequenceMemory' | 'previousSequence'
> {
  bundle: Receipt['bundle']
  authentication: Receipt['authentication']
  target: Receipt['target']
  images: {
    source: string
    /** The full name in the target, with the tag. */
    target: string
    digest: Digest
    mediaType: string
    tag: { name: string; state: 'created' | 'unchanged' | 'moved'; previousDigest?: Digest | undefined }
    /** The source's own index, if only some platforms are delivered and it was requested. */
    sparseIndex?: { digest: Digest; tag: string; state: 'to-send' | 'present' } | undefined
    /** The signatures, those to make and those that are already there. */
    imageSignatures?:
      | (Omit<NonNullable<Receipt['images'][number]['imageSignatures']>[number], 'outcome'> & {
          state: 'to-sign' | 'present'
        })[]
      | undefined
    /** Its referrers. `to-merge`: the cosign tag has other layers, which stay; `taken`: the tag holds something else. */
    referrers?:
      | (ReferrerEntry & {
          state: 'to-send' | 'present' | 'to-merge' | 'taken' | 'not-delivered' | 'left-out'
        })[]
      | undefined
  }[]
  /** The key and the formats of the images' signatures. */
  imageSigning?: Receipt['imageSigning']
  /** Projects that will be created in Harbor. */
  createdProjects?: { name: string; visibility: 'private' | 'public' }[] | undefined
  /** Totals for all repositories of the target. If the registry refuses a mount, the blob is uploaded instead. */
  totals: { uploaded: Amount; mounted: Amount; tagsMoved: number }
}

/**
 * Describes the plan of a push.
 * @param about the signatures to make, and what is remembered of earlier pushes.
 */
export function describePlan(
  opened: OpenedBundle,
  plan: PushPlan,
  target: Receipt['target'],
  { signatures, sequences = NO_MEMORY }: { signatures: DescribedSignatures; sequences?: SequenceEvidence },
): PlannedPush {
  const { authentication, description, bundleDigest } = opened
  if (!description) throw new AirgapError('INTERNAL', 'a bundle without a description was planned')
  const referrers = new Map(plan.referrers.map((one) => [referrerKey(one.repository, one.entry), one]))
  const images = plan.images.map((planned) => {
    const { image, name, tagNow } = planned
    const state = tagChange(tagNow, image.digest)
    const index = plan.sourceIndexes.find(
      (one) => one.digest === image.sourceDigest && one.repository === planned.repository,
    )
    return {
      source: image.source,
      target: tagName(planned),
      digest: image.digest,
      mediaType: image.mediaType,
      tag: {
        name: name.tag,
        state,
        ...(state === 'moved' && tagNow !== undefined ? { previousDigest: tagNow } : {}),
      },
      ...(index && hasSourceIndex(planned)
        ? {
            sparseIndex: {
              digest: index.digest,
              tag: index.tag,
              state: index.isPresent ? ('present' as const) : ('to-send' as const),
            },
          }
        : {}),
      ...signatures.of(planned),
      ...describeReferrers(planned, referrers),
    }
  })
  const mountedBytes = plan.blobs.reduce((sum, blob) => sum + blob.size * mountsOf(blob).length, 0)
  return {
    bundle: bundleIdentity(bundleDigest, description),
    authentication: authenticationOf(authentication),
    ...policyFields(opened),
    ...sequences,
    target,
    images,
    ...signatures.summary,
    ...(plan.projects.length > 0 ? { createdProjects: plan.projects } : {}),
    totals: {
      uploaded: { count: plan.uploadCount, bytes: plan.uploadBytes },
      mounted: { count: plan.mountCount, bytes: mountedBytes },
      tagsMoved: images.filter(({ tag }) => tag.state === 'moved').length,
    },
  }
}

function describeReferrers(
  { repository, fates }: PlannedImage,
  planned: ReadonlyMap<string, PlannedReferrer>,
): Pick<PlannedPush['images'][number], 'referrers'> {
  if (fates.length === 0) return {}
  return {
    referrers: fates.map(({ graph: { entry }, fate }) => {
      if (fate === 'not-delivered' || fate === 'left-out') return { ...knownFields(entry), state: fate }
      const one = planned.get(referrerKey(repository, entry))
      if (one?.tag === 'to-merge' || one?.tag === 'taken') return { ...knownFields(entry), state: one.tag }
      const isThere = one?.present.has(entry.digest) && (entry.tag === undefined || one.tag === 'there')
      return { ...knownFields(entry), state: isThere ? 'present' : 'to-send' }
    }),
  }
}

/** What will be signed, image by image, in the form of the receipt. */
export interface DescribedSignatures {
  summary: Pick<PlannedPush, 'imageSigning'>
  of(planned: PlannedImage): Pick<PlannedPush['images'][number], 'imageSignatures'>
}
