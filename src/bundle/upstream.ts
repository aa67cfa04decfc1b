import * as v from 'valibot'
import { checkKeyCase, compareBytes } from '../oci/json.ts'
import { described, digest, isMoment, keyFingerprint, type Known } from './fields.ts'
import { isReason, MAX_REASON } from './skipped.ts'

/** The longest identity (an e-mail address or a URI), in characters. */
const MAX_SIGNER = 2048

const line = (what: string, most = MAX_SIGNER) =>
  described(v.pipe(v.string(), v.minLength(1, 'is empty'), v.maxLength(most, 'is too long')), what)

export const upstreamRule = described(
  v.looseObject({
    pattern: line("The rule's pattern"),
    preset: v.optional(line('The preset that the rule belongs to; absent if it came from a file', 100)),
  }),
  'The rule of the policy that applied',
)

export const upstreamReason = described(
  v.pipe(
    v.string(),
    v.check(isReason, `must be one line of text, at most ${MAX_REASON} characters`),
    v.metadata({ minLength: 1, maxLength: MAX_REASON }),
  ),
  'Why, in one line; for people',
)

const signatureFields = {
  manifest: described(digest, 'The manifest that holds the signature: one of `referrers`'),
  form: described(
    v.picklist(['simple-signing', 'sigstore-bundle']),
    "cosign's payload with annotations, or a Sigstore bundle",
  ),
  keyFingerprint: v.optional(keyFingerprint),
  identity: v.optional(line('The identity in the certificate: an e-mail address or a URI')),
  issuer: v.optional(line('Who vouches for that identity')),
  signedAt: v.optional(
    described(
      v.pipe(v.string(), v.check(isMoment, 'must be a moment like 2026-01-31T12:00:00Z')),
      'When it was made, according to a log or a timestamp authority',
    ),
  ),
  logEntries: v.optional(
    described(
      v.pipe(
        v.array(
          v.looseObject({
            logId: described(
              v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits')),
              "SHA-256 of the log's public key",
            ),
            logIndex: described(
              v.pipe(v.string(), v.regex(/^(?:0|[1-9][0-9]{0,19})$/, 'must be a decimal number')),
              "The entry's index in the log",
            ),
          }),
        ),
        v.check(
          (all) => all.every((one, i) => i === 0 || compareEntries(all[i - 1] ?? one, one) < 0),
          'must be sorted by log and index, without duplicates',
        ),
      ),
      'The transparency log entries that were checked',
    ),
  ),
  trustedRoot: v.optional(described(digest, 'SHA-256 of the trusted root used to check it')),
}

export const upstreamSignature = described(
  v.pipe(
    v.looseObject(signatureFields),
    v.check(
      ({ keyFingerprint: key, identity, issuer }) =>
        (key === undefined) !== (identity === undefined) &&
        (identity === undefined) === (issuer === undefined),
      'must name either a key, or an identity and its issuer',
    ),
  ),
  'The signature, and who made it',
)

/** What was verified of an image's upstream signatures when packing. `airgap.json` and results share it. */
export const UpstreamSchema = described(
  v.variant('state', [
    v.looseObject({
      state: v.literal('verified'),
      rule: upstreamRule,
      subject: described(
        digest,
        "What is signed: the image's `sourceDigest`, or its `digest` if only that is signed",
      ),
      signature: upstreamSignature,
    }),
    v.looseObject({ state: v.literal('warned'), rule: upstreamRule, reason: upstreamReason }),
    v.looseObject({ state: v.literal('skipped'), rule: upstreamRule, reason: upstreamReason }),
  ]),
  "The result of verifying the upstream's signatures when packing; absent if this was not requested",
)

/** verified: see `signature`; warned: verification failed, but the policy allows that; skipped: not checked. */
export type UpstreamRecord = Known<v.InferOutput<typeof UpstreamSchema>>
export type UpstreamSignature = (UpstreamRecord & { state: 'verified' })['signature']

const RECORD_KEYS = ['state', 'rule', 'subject', 'signature', 'reason']
const RULE_KEYS = ['pattern', 'preset']
const SIGNATURE_KEYS = Object.keys(signatureFields)
const LOG_ENTRY_KEYS = ['logId', 'logIndex']

/**
 * Refuses keys that differ from known ones only in case, as everywhere in `airgap.json`.
 * @throws AirgapError `INVALID_CONTENT`
 */
export function checkUpstreamKeys(record: UpstreamRecord, what: string): void {
  checkKeyCase(record, RECORD_KEYS, what)
  checkKeyCase(record.rule, RULE_KEYS, what)
  if (record.state !== 'verified') return
  checkKeyCase(record.signature, SIGNATURE_KEYS, what)
  for (const entry of record.signature.logEntries ?? []) checkKeyCase(entry, LOG_ENTRY_KEYS, what)
}

/** Why a record does not match its image; undefined if it does. */
export function upstreamFault({
  upstream,
  sourceDigest,
  digest: delivered,
  referrers = [],
}: {
  upstream?: UpstreamRecord | undefined
  sourceDigest: string
  digest: string
  referrers?: readonly { digest: string; subject: string }[] | undefined
}): string | undefined {
  if (upstream?.state !== 'verified') return undefined
  const { subject, signature: made } = upstream
  if (subject !== sourceDigest && subject !== delivered) return `its subject is not a digest of the image`
  const isThere = referrers.some((one) => one.digest === made.manifest && one.subject === subject)
  return isThere ? undefined : `its signature ${made.manifest} is not among the referrers of its subject`
}

interface LogEntry {
  logId: string
  logIndex: string
}

/** Sorts log entries and removes duplicates. */
export function sortLogEntries<T extends LogEntry>(entries: readonly T[]): T[] {
  return entries
    .toSorted(compareEntries)
    .filter((one, i, all) => i === 0 || compareEntries(all[i - 1] ?? one, one) !== 0)
}

function compareEntries(a: LogEntry, b: LogEntry): number {
  return compareBytes(a.logId, b.logId) || compareBytes(a.logIndex, b.logIndex)
}
