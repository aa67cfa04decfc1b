import * as v from 'valibot'
import { digest, instant, keyFingerprint, wholeNumber } from '../../bundle/fields.ts'
import { AirgapError } from '../../errors.ts'
import { canonicalJson, checkShape, compareBytes, parseStrictJson } from '../../oci/json.ts'

/** Bytes of a state file; no more is read or written. */
export const MAX_SEQUENCES = 4 * 1024 * 1024
const MAX_TEXT = 4096

const text = v.pipe(v.string(), v.minLength(1), v.maxLength(MAX_TEXT))

const RecordSchema = v.strictObject({
  /** The bundle's. */
  name: text,
  signer: v.union([v.strictObject({ keyFingerprint }), v.strictObject({ identity: text, issuer: text })]),
  /** The last that was accepted. */
  sequence: wholeNumber,
  /** The bundle digest that had it. */
  digest,
  /** When its tags were first set. */
  pushed: instant,
  /** Into which registry, with the prefix. */
  target: text,
})

const DocumentSchema = v.strictObject({
  type: v.literal('dev.airgap.sequences'),
  formatVersion: v.literal('1.0'),
  bundles: v.array(RecordSchema),
})

/** The last bundle of one name and signer that was accepted. */
export type SequenceRecord = v.InferOutput<typeof RecordSchema>

/**
 * Reads a state file's content.
 * @throws AirgapError `FILE` where it is not one; the memory is not silently begun anew.
 */
export function parseSequences(bytes: Uint8Array, file: string): SequenceRecord[] {
  try {
    const { bundles } = checkShape(DocumentSchema, parseStrictJson(bytes, 'it'), 'it')
    const seen = new Set<string>()
    for (const record of bundles) {
      if (seen.has(keyOf(record))) {
        throw new AirgapError(
          'INVALID_CONTENT',
          `${JSON.stringify(record.name)} is there twice for one signer`,
        )
      }
      seen.add(keyOf(record))
    }
    return bundles
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    throw new AirgapError(
      'FILE',
      `${file}, which remembers the sequences of bundles, is damaged: ${error.message.replace(/^it: /, '')}`,
      {
        hint: `Without it an older bundle would pass unnoticed, so nothing was done. Bring it back from a backup; or find out what happened to it, move it away, and run the command again: the memory then begins anew.`,
        cause: error,
      },
    )
  }
}

/** Records as a state file: sorted, so that changes are few where it is kept under version control. */
export function serializeSequences(records: readonly SequenceRecord[]): Buffer {
  const bundles = records.toSorted((a, b) => compareBytes(keyOf(a), keyOf(b)))
  return canonicalJson({ type: 'dev.airgap.sequences', formatVersion: '1.0', bundles })
}

/** What there is one record for. */
export function keyOf({ name, signer }: Pick<SequenceRecord, 'name' | 'signer'>): string {
  return JSON.stringify(
    'keyFingerprint' in signer ? [name, signer.keyFingerprint] : [name, signer.identity, signer.issuer],
  )
}
