import * as v from 'valibot'
import type { BundleDescription } from '../../bundle/description.ts'
import { canonicalJson } from '../../oci/json.ts'
import { TOOL } from '../../version.ts'
import type { OpenedBundle } from '../check/opened-bundle.ts'
import type { Target } from './names.ts'
import type { PlannedImage } from './plan.ts'

/** What became of a blob or manifest in a repository of the target. */
const OutcomeSchema = v.picklist(['uploaded', 'mounted', 'present, not read', 'present, read back'])
export type ContentOutcome = v.InferOutput<typeof OutcomeSchema>

const digest = v.pipe(v.string(), v.regex(/^sha256:[0-9a-f]{64}$/))
const count = v.pipe(v.number(), v.integer(), v.minValue(0))
const moment = v.pipe(v.string(), v.isoTimestamp())

/** The receipt of a push; published as `docs/schemas/receipt.schema.json`. */
export const ReceiptSchema = v.object({
  type: v.literal('dev.airgap.receipt'),
  formatVersion: v.literal('1.0'),
  tool: v.object({ name: v.string(), version: v.string() }),
  bundle: v.object({
    /** The bundle digest: SHA-256 of its `SHA256SUMS`. */
    digest,
    name: v.string(),
    version: v.optional(v.string()),
    sequence: count,
    created: moment,
  }),
  authentication: v.object({
    state: v.picklist(['signed', 'not checked']),
    /** SHA-256 of the public key that the signature was checked with. */
    keyFingerprint: v.optional(v.string()),
  }),
  target: v.object({
    registry: v.string(),
    prefix: v.string(),
    /** The origin that it was spoken to at, like `https://registry.internal:5000`. */
    origin: v.string(),
  }),
  started: moment,
  finished: moment,
  images: v.array(
    v.object({
      source: v.string(),
      /** The full name in the target, with the tag. */
      target: v.string(),
      digest,
      mediaType: v.string(),
      tag: v.object({
        name: v.string(),
        state: v.picklist(['created', 'unchanged', 'moved']),
        /** Where a moved tag pointed before. */
        previousDigest: v.optional(digest),
      }),
      content: v.array(
        v.object({
          digest,
          /** Bytes. */
          size: count,
          kind: v.picklist(['manifest', 'blob']),
          outcome: OutcomeSchema,
        }),
      ),
    }),
  ),
  /** Sums over the target's repositories. */
  totals: v.object({
    uploaded: v.object({ count, bytes: count }),
    mounted: v.object({ count, bytes: count }),
    present: v.object({ count, bytes: count }),
    tagsMoved: count,
  }),
})
export type Receipt = v.InferOutput<typeof ReceiptSchema>

/** Remembers what became of each thing in each repository while a push runs. */
export class Outcomes {
  readonly #outcomes = new Map<string, { outcome: ContentOutcome; size: number; digest: string }>()

  set(repository: string, digest: string, size: number, outcome: ContentOutcome): void {
    this.#outcomes.set(`${repository} ${digest}`, { outcome, size, digest })
  }

  get(repository: string, digest: string): ContentOutcome {
    return this.#outcomes.get(`${repository} ${digest}`)?.outcome ?? 'present, not read'
  }

  /** Turns what was only found present into what was read back and hashed. */
  markRead(digest: string): void {
    for (const entry of this.#outcomes.values()) {
      if (entry.digest === digest && entry.outcome === 'present, not read')
        entry.outcome = 'present, read back'
    }
  }

  totals(): Omit<Receipt['totals'], 'tagsMoved'> {
    const totals = { uploaded: sum(), mounted: sum(), present: sum() }
    for (const { outcome, size } of this.#outcomes.values()) {
      const part = outcome === 'uploaded' || outcome === 'mounted' ? totals[outcome] : totals.present
      part.count += 1
      part.bytes += size
    }
    return totals
  }
}

function sum(): { count: number; bytes: number } {
  return { count: 0, bytes: 0 }
}

export function makeReceipt(
  opened: OpenedBundle,
  description: BundleDescription,
  target: Target & { origin: string },
  images: readonly PlannedImage[],
  outcomes: Outcomes,
  times: { started: Date; finished: Date },
): Receipt {
  const { authentication } = opened
  const { name, version, sequence, created } = description
  const receiptImages = images.map((planned): Receipt['images'][number] => {
    const { image, graph, repository, tagNow } = planned
    const documents = [...graph.closure.documents.values()].map((document) => ({
      digest: document.digest as string,
      size: document.bytes.length,
      kind: 'manifest' as const,
      outcome: outcomes.get(repository.name, document.digest),
    }))
    const blobs = [...graph.closure.blobs.values()].map((blob) => ({
      digest: blob.digest as string,
      size: blob.size,
      kind: 'blob' as const,
      outcome: outcomes.get(repository.name, blob.digest),
    }))
    return {
      source: image.source,
      target: `${repository.name}:${planned.name.tag}`,
      digest: image.digest,
      mediaType: image.mediaType,
      tag: {
        name: planned.name.tag,
        state: tagState(tagNow, image.digest),
        ...(tagNow !== undefined && tagNow !== image.digest ? { previousDigest: tagNow } : {}),
      },
      content: [...documents, ...blobs],
    }
  })
  return {
    type: 'dev.airgap.receipt',
    formatVersion: '1.0',
    tool: TOOL,
    bundle: {
      digest: opened.bundleDigest,
      name,
      ...(version === undefined ? {} : { version }),
      sequence,
      created,
    },
    authentication:
      authentication.state === 'signed'
        ? { state: 'signed', keyFingerprint: authentication.key.fingerprint }
        : { state: 'not checked' },
    target,
    started: times.started.toISOString(),
    finished: times.finished.toISOString(),
    images: receiptImages,
    totals: {
      ...outcomes.totals(),
      tagsMoved: receiptImages.filter(({ tag }) => tag.state === 'moved').length,
    },
  }
}

function tagState(before: string | undefined, after: string): 'created' | 'unchanged' | 'moved' {
  if (before === undefined) return 'created'
  return before === after ? 'unchanged' : 'moved'
}

export function serializeReceipt(receipt: Receipt): Buffer {
  return canonicalJson(receipt)
}
