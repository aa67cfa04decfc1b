import type { Digest } from '../oci/digest.ts'
import type { Amount } from '../content/amount.ts'
import type { ReferrerEntry } from '../bundle/referrers.ts'
import type { Receipt } from './receipt.ts'

/** What a push will do, in the terms of its receipt. */
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
    /** The source's own index, where only a part is delivered and it was asked for. */
    sparseIndex?: { digest: Digest; tag: string; state: 'to-send' | 'present' } | undefined
    /** What will be signed, and what has its signature already. */
    imageSignatures?:
      | (Omit<NonNullable<Receipt['images'][number]['imageSignatures']>[number], 'outcome'> & {
          state: 'to-sign' | 'present'
        })[]
      | undefined
    /** What travels along with it. `to-merge`: cosign's tag has other layers, which stay; `taken`: it is no place for these. */
    referrers?:
      | (ReferrerEntry & {
          state: 'to-send' | 'present' | 'to-merge' | 'taken' | 'not-delivered' | 'left-out'
        })[]
      | undefined
  }[]
  /** What images will be signed with, and how. */
  imageSigning?: Receipt['imageSigning']
  /** Projects that will be created in a Harbor. */
  createdProjects?: { name: string; visibility: 'private' | 'public' }[] | undefined
  /** Sums over the target's repositories. A registry that refuses to mount gets uploads instead. */
  totals: { uploaded: Amount; mounted: Amount; tagsMoved: number }
}
