import * as v from 'valibot'
import { canonicalJson } from '../../oci/json.ts'

/** What became of a blob or manifest in a repository of the target. */
const OutcomeSchema = v.picklist([
  'uploaded',
  'mounted',
  'present, not read',
  'present, read back',
  'not sent',
])
export type ContentOutcome = v.InferOutput<typeof OutcomeSchema>

const TagStateSchema = v.picklist(['created', 'unchanged', 'moved', 'not set'])
export type TagState = v.InferOutput<typeof TagStateSchema>

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
  /** False when the push broke off: then some content is `not sent`, and some tags are `not set`. */
  complete: v.boolean(),
  images: v.array(
    v.object({
      source: v.string(),
      /** The full name in the target, with the tag. */
      target: v.string(),
      digest,
      mediaType: v.string(),
      tag: v.object({
        name: v.string(),
        state: TagStateSchema,
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

export function serializeReceipt(receipt: Receipt): Buffer {
  return canonicalJson(receipt)
}
