import * as v from 'valibot'
import { isDigest } from '../../../../oci/digest.ts'
import { parseStrictJson } from '../../../../oci/json.ts'
import { isRepository } from '../../../../oci/reference.ts'

/** Bytes of a state file; no more is read or written. */
export const MAX_STATE = 1024 * 1024
const MAX_UPLOADS = 1000
const MAX_LOCATION = 4096
const TYPE = 'dev.airgap.uploads'
/** What is older is not taken up: registries drop unfinished uploads in less time than that. */
export const MAX_AGE_MS = 7 * 24 * 3600_000

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const time = v.pipe(v.string(), v.isoTimestamp())

const Upload = v.strictObject({
  repository: v.pipe(
    v.string(),
    v.check((text) => isRepository(text)),
  ),
  digest: v.pipe(
    v.string(),
    v.check((text) => isDigest(text)),
  ),
  mode: v.picklist(['stream', 'chunks']),
  /** Absent where the upload goes to another origin than the registry's. */
  location: v.optional(v.pipe(v.string(), v.maxLength(MAX_LOCATION), v.url())),
  acknowledged: count,
  started: time,
  updated: time,
  owner: v.strictObject({
    host: v.pipe(v.string(), v.maxLength(255)),
    pid: v.pipe(count, v.minValue(1)),
    started: v.pipe(v.string(), v.regex(/^[0-9]{0,20}$/)),
    run: v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/)),
  }),
})

const Document = v.strictObject({
  type: v.literal(TYPE),
  formatVersion: v.literal('1.0'),
  uploads: v.pipe(v.array(Upload), v.maxLength(MAX_UPLOADS)),
})

/** One upload that has not come to its end. */
export type UploadRecord = v.InferOutput<typeof Upload>

/**
 * Reads a state file's content.
 * @returns undefined where it is not what {@link formatState} writes: then it is worth nothing.
 */
export function parseState(bytes: Uint8Array): UploadRecord[] | undefined {
  let value: unknown
  try {
    value = parseStrictJson(bytes, 'the state of uploads')
  } catch {
    // What is wrong with it helps nobody, and it may hold what must not be shown.
    return undefined
  }
  const parsed = v.safeParse(Document, value)
  return parsed.success ? parsed.output.uploads : undefined
}

/** The newest uploads as a state file; as many as may be in one. */
export function formatState(uploads: readonly UploadRecord[]): string {
  const kept = uploads
    .filter(({ location = '' }) => location.length <= MAX_LOCATION)
    .toSorted((a, b) => (a.updated < b.updated ? 1 : -1))
    .slice(0, MAX_UPLOADS)
  for (;;) {
    const text = `${JSON.stringify({ type: TYPE, formatVersion: '1.0', uploads: kept })}\n`
    if (Buffer.byteLength(text) <= MAX_STATE) return text
    kept.length = Math.floor(kept.length / 2)
  }
}
