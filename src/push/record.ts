import { bundleIdentity } from '../bundle/identity.ts'
import { knownFields } from '../bundle/referrers.ts'
import { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { Repository } from '../registry/repository.ts'
import { TOOL } from '../own-files.ts'
import { authenticationOf } from '../verify/signers.ts'
import type { OpenedBundle } from '../verify/opened-bundle.ts'
import { policyFields } from '../verify/policy-rules.ts'
import type { Amount } from '../content/events.ts'
import { NO_MEMORY } from '../verify/sequences/memory.ts'
import type { SequenceEvidence } from '../verify/opened-bundle.ts'
import type { Target } from './names.ts'
import type { ImageSigning } from './image-signatures/plan.ts'
import { SignatureRecord } from './image-signatures/record.ts'
import type { PlannedProject } from './projects.ts'
import type { Arrived } from './push-failures.ts'
import type { ContentOutcome, Receipt, TagState } from './receipt.ts'
import { referrerKey } from './referrers/plan.ts'
import { hasSourceIndex, indexKey, type IndexOutcome } from './source-index.ts'
import {
  tagChange,
  tagName,
  type PlannedImage,
  type PushPlan,
  type PlannedReferrer,
  type ReferrerFate,
  type PlannedIndex,
} from './planned.ts'

interface ContentRecord {
  outcome: ContentOutcome
  digest: Digest
  /** Bytes. */
  size: number
}

/** How a referrer is found in the target. */
export interface ReferrerRecord {
  foundBy: 'listed' | 'tag'
  /** The manifest under the cosign tag, if that had other layers, too. */
  mergedInto?: Digest
}

interface TagRecord {
  state: TagState
  previousDigest?: Digest
  unconfirmed?: true
}

/**
 * Records the outcome of everything during a push, so that there is a receipt even if the push breaks off: moved tags must
 * not be forgotten.
 */
export class PushRecord {
  /** The outcomes of the images' signatures. */
  readonly signatures: SignatureRecord
  readonly #opened: OpenedBundle
  readonly #plan: PushPlan
  readonly #target: Target & { origin: string }
  readonly #started = new Date()
  readonly #content = new Map<string, ContentRecord>()
  readonly #tags = new Map<string, TagRecord>()
  readonly #indexes = new Map<string, IndexOutcome>()
  readonly #referrers = new Map<string, ReferrerRecord>()
  readonly #lost = new Map<string, AirgapError>()
  readonly #sequences: SequenceEvidence
  #projects: readonly PlannedProject[] = []

  /**
   * @param target the target, with the URL under which it was reached, like `https://registry.internal:5000`.
   * @param about how images are signed, and what is remembered of earlier pushes.
   */
  constructor(
    opened: OpenedBundle,
    plan: PushPlan,
    target: Target & { origin: string },
    {
      signing,
      sequences = NO_MEMORY,
    }: { signing?: ImageSigning | undefined; sequences?: SequenceEvidence } = {},
  ) {
    this.signatures = new SignatureRecord(signing, plan.sourceIndexes.length > 0)
    this.#sequences = sequences
    this.#opened = opened
    this.#plan = plan
    this.#target = target
  }

  get target(): Target & { origin: string } {
    return this.#target
  }

  /** Whether this push has changed any tag in the target. */
  get hasSetTags(): boolean {
    return [...this.#tags.values()].some(({ state }) => state === 'created' || state === 'moved')
  }

  set({ name }: Repository, digest: Digest, size: number, outcome: ContentOutcome): void {
    this.#content.set(`${name} ${digest}`, { outcome, digest, size })
  }

  /** Records that content that was found present was read back and hashed. */
  markRead({ name }: Repository, digest: Digest): void {
    const record = this.#content.get(`${name} ${digest}`)
    if (record?.outcome === 'present-not-read') record.outcome = 'present-read-back'
  }

  /** Records that a tag was set; {@link confirmTag} has to follow. */
  setTag(planned: PlannedImage, before: Digest | undefined): void {
    const state = tagChange(before, planned.image.digest)
    const moved = state === 'moved' && before !== undefined ? { previousDigest: before } : {}
    this.#tags.set(tagName(planned), { state, ...moved, unconfirmed: true })
  }

  /** Records that a tag was read back. */
  confirmTag(planned: PlannedImage): void {
    delete this.#tags.get(tagName(planned))?.unconfirmed
    this.markRead(planned.repository, planned.image.digest)
  }

  setIndex({ repository, digest }: PlannedIndex, outcome: IndexOutcome): void {
    this.#indexes.set(indexKey(repository, digest), outcome)
  }

  setReferrer({ repository, entry }: PlannedReferrer, found: ReferrerRecord): void {
    this.#referrers.set(referrerKey(repository, entry), found)
  }

  /** Records that a referrer could not be pushed, or would not be found. */
  setLost({ repository, entry }: PlannedReferrer, error: AirgapError): void {
    this.#lost.set(referrerKey(repository, entry), error)
  }

  /** Whether a referrer waits for a source's own index and that index is there now. */
  hasIndexOf({ waitsFor, repository, images }: PlannedReferrer): boolean {
    if (waitsFor !== 'source-index') return false
    const outcomes = images.map(
      ({ image }) => this.#indexes.get(indexKey(repository, image.sourceDigest))?.outcome,
    )
    return outcomes.some((outcome) => outcome === 'uploaded' || outcome === 'present-read-back')
  }

  /** Records the projects that this push created. */
  setProjects(created: readonly PlannedProject[]): void {
    this.#projects = created
  }

  /** How many of the planned blobs have arrived. */
  arrived(): Arrived {
    const sum: Arrived = { blobs: 0, ofBlobs: 0, bytes: 0, ofBytes: 0 }
    for (const { digest, size, present, missing, damaged } of this.#plan.blobs) {
      for (const { name } of [...present, ...missing, ...damaged]) {
        const isThere = this.#content.has(`${name} ${digest}`)
        sum.ofBlobs += 1
        sum.ofBytes += size
        if (!isThere) continue
        sum.blobs += 1
        sum.bytes += size
      }
    }
    return sum
  }

  receipt(isComplete: boolean): Receipt {
    const { authentication, description, bundleDigest } = this.#opened
    if (!description) throw new AirgapError('INTERNAL', 'a bundle without a description was pushed')
    return {
      type: 'dev.airgap.receipt',
      formatVersion: '1.0',
      tool: TOOL,
      bundle: bundleIdentity(bundleDigest, description),
      authentication: authenticationOf(authentication),
      ...policyFields(this.#opened),
      ...this.#sequences,
      target: this.#target,
      started: this.#started.toISOString(),
      finished: new Date().toISOString(),
      complete:
        isComplete &&
        this.#lost.size === 0 &&
        [...this.#indexes.values()].every(({ outcome }) => outcome !== 'refused'),
      ...(this.#projects.length > 0 ? { createdProjects: [...this.#projects] } : {}),
      ...this.signatures.summary(),
      images: this.#plan.images.map((planned) => this.#image(planned, isComplete)),
      totals: this.#totals(),
    }
  }

  #image(planned: PlannedImage, isComplete: boolean): Receipt['images'][number] {
    const { image, graph, repository } = planned
    const outcomeOf = (digest: Digest): ContentOutcome => {
      const record = this.#content.get(`${repository.name} ${digest}`)
      if (!record && isComplete) throw new AirgapError('INTERNAL', `${digest} was forgotten`)
      return record?.outcome ?? 'not-sent'
    }
    const documents = [...graph.closure.documents.values()].map(({ digest, size }) => ({
      digest,
      size,
      kind: 'manifest' as const,
      outcome: outcomeOf(digest),
    }))
    const blobs = [...graph.closure.blobs.values()].map(({ digest, size }) => ({
      digest,
      size,
      kind: 'blob' as const,
      outcome: outcomeOf(digest),
    }))
    return {
      source: image.source,
      target: tagName(planned),
      digest: image.digest,
      mediaType: image.mediaType,
      tag: { name: planned.name.tag, ...(this.#tags.get(tagName(planned)) ?? { state: 'not-set' }) },
      ...this.#index(planned),
      ...this.signatures.of(planned),
      content: [...documents, ...blobs],
      ...(planned.fates.length > 0
        ? { referrers: planned.fates.map((fate) => this.#referrer(planned, fate)) }
        : {}),
    }
  }

  #referrer(
    { repository, image }: PlannedImage,
    { graph: { entry }, fate }: ReferrerFate,
  ): NonNullable<Receipt['images'][number]['referrers']>[number] {
    if (fate === 'not-delivered' || fate === 'left-out') return { ...knownFields(entry), outcome: fate }
    const key = referrerKey(repository, entry)
    const lost = this.#lost.get(key)
    if (lost) return { ...knownFields(entry), outcome: 'refused', reason: lost.message }
    const index = this.#indexes.get(indexKey(repository, image.sourceDigest))?.outcome
    if (fate === 'source-index' && index === 'refused')
      return { ...knownFields(entry), outcome: 'not-delivered' }
    const outcome = this.#content.get(`${repository.name} ${entry.digest}`)?.outcome ?? 'not-sent'
    return {
      ...knownFields(entry),
      outcome: outcome === 'mounted' ? 'uploaded' : outcome,
      ...this.#referrers.get(key),
    }
  }

  #index(planned: PlannedImage): Pick<Receipt['images'][number], 'sparseIndex'> {
    const digest = planned.image.sourceDigest
    const index = this.#plan.sourceIndexes.find(
      (one) => one.digest === digest && one.repository === planned.repository,
    )
    if (!index || !hasSourceIndex(planned)) return {}
    const outcome = this.#indexes.get(indexKey(planned.repository, digest)) ?? { outcome: 'not-sent' }
    return { sparseIndex: { digest, tag: index.tag, ...outcome } }
  }

  #totals(): Receipt['totals'] {
    const none = (): Amount => ({ count: 0, bytes: 0 })
    const blobs = { uploaded: none(), mounted: none(), present: none() }
    const manifests = { uploaded: none(), present: none() }
    const documents = new Set(
      [...this.#plan.images, ...this.#plan.referrers].flatMap(({ graph }) =>
        Array.from(graph.closure.documents.keys()),
      ),
    )
    for (const { outcome, digest, size } of this.#content.values()) {
      const kind = documents.has(digest) ? manifests : blobs
      const part =
        outcome === 'uploaded' ? kind.uploaded : outcome === 'mounted' ? blobs.mounted : kind.present
      part.count += 1
      part.bytes += size
    }
    const tagsMoved = [...this.#tags.values()].filter(({ state }) => state === 'moved').length
    return { ...blobs, manifests, tagsMoved }
  }
}
