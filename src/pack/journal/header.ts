import * as v from 'valibot'
import { DescriptionSchema, PlatformsSchema, source, ToolSchema } from '../../bundle/description.ts'
import { REFERRER_CHOICES } from '../../oci/referrer.ts'
import { digest, instant, keyFingerprint, moment, wholeNumber, type Known } from '../../bundle/fields.ts'
import { checkDeliveredNames } from '../../bundle/layout.ts'
import { checkShape, parseStrictJson } from '../../oci/json.ts'
import { LockSchema } from '../lock.ts'

export const JOURNAL_TYPE = 'dev.airgap.journal'
export const JOURNAL_VERSION = '1'

/** Everything that a user chooses and that decides what is in a bundle. */
export const InputsSchema = v.strictObject({
  /** The references asked for, or those of the lock, sorted. */
  images: v.array(source),
  /** SHA-256 of the lock, where one was given. */
  lock: v.optional(digest),
  platforms: PlatformsSchema,
  rewriteDigests: v.boolean(),
  allowMissingPlatform: v.boolean(),
  allowMissingAttestations: v.boolean(),
  resolveFrom: v.picklist(['source', 'mirror']),
  /** What travels along; a lock says it by itself. */
  referrers: v.optional(v.picklist(REFERRER_CHOICES)),
  /** Where they may turn a tag into a digest. */
  mirrors: v.optional(v.array(v.string())),
  /** Where it was given. */
  name: v.optional(v.string()),
  version: v.optional(v.string()),
  expires: v.optional(moment),
  /** Where it was given. */
  sequence: v.optional(wholeNumber),
  /** Where it was given. */
  created: v.optional(moment),
  /** Fingerprint of the key that signs, or how else. */
  key: v.union([keyFingerprint, v.picklist(['keyless', 'unsigned'])]),
})
export type PackInputs = v.InferOutput<typeof InputsSchema>

const base64 = v.pipe(v.string(), v.base64())

const HeaderSchema = v.strictObject({
  type: v.literal(JOURNAL_TYPE),
  formatVersion: v.literal(JOURNAL_VERSION),
  tool: ToolSchema,
  /** When the first run began. */
  begun: instant,
  inputs: InputsSchema,
  lock: LockSchema,
  /** Everything in `airgap.json` but what the lock says. */
  description: v.omit(DescriptionSchema, ['images', 'platforms']),
  signature: v.optional(v.strictObject({ sigstore: base64, raw: v.optional(base64) })),
  bundleDigest: digest,
  /** Bytes of the finished file. */
  totalSize: wholeNumber,
  /** Bytes of the blobs that are not known before they are fetched. */
  blobBytes: wholeNumber,
  /** The unfinished file that this is about. */
  file: v.strictObject({ device: v.pipe(v.string(), v.digits()), inode: v.pipe(v.string(), v.digits()) }),
})

/** What a run was made for, and all that was decided before its first blob was fetched. */
export type JournalHeader = Known<v.InferOutput<typeof HeaderSchema>>

/** @throws AirgapError `INVALID_CONTENT`, `NAME_CONFLICT` */
export function parseHeader(json: Uint8Array, what: string): JournalHeader {
  const header = checkShape(HeaderSchema, parseStrictJson(json, what), what)
  checkDeliveredNames(header.lock.images)
  return header
}
