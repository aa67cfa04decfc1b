import * as v from 'valibot'
import { digest, wholeNumber } from '../../bundle/fields.ts'
import { checkShape, parseStrictJson } from '../../oci/json.ts'

/** Progress, as it is appended. */
const RecordSchema = v.union([
  /** So many bytes of a blob have been written, from its first one on. */
  v.strictObject({ blob: digest, written: wholeNumber }),
  /** A blob is complete, and had the right digest when it was written. Its bytes. */
  v.strictObject({ blob: digest, finished: wholeNumber }),
  /** What the first so many records say of blobs has reached the disk. */
  v.strictObject({ synced: wholeNumber }),
  /** A run has begun, on a machine that was started under this name. */
  v.strictObject({ run: v.pipe(v.string(), v.maxLength(100)) }),
  /** The disk has failed: what was not synced before may be lost. */
  v.strictObject({ lost: v.literal(true) }),
  /** All that other files have of this one has been copied, and is on the disk. */
  v.strictObject({ copied: v.literal(true) }),
  /** The file is complete and synced, and about to get its name. */
  v.strictObject({ complete: v.literal(true) }),
])
export type JournalRecord = v.InferOutput<typeof RecordSchema>

/** @throws AirgapError `INVALID_CONTENT` */
export function parseRecord(json: Uint8Array, what: string): JournalRecord {
  return checkShape(RecordSchema, parseStrictJson(json, what), what)
}
