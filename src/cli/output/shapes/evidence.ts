import * as v from 'valibot'
import {
  BundleIdentitySchema,
  ImageEntrySchema,
  PlatformsSchema,
  SkippedSchema,
  source,
  ToolSchema,
} from '../../../bundle/description.ts'
import { described, digest, keyFingerprint, type Known } from '../../../bundle/fields.ts'
import { policySchemas, sequenceSchemas } from '../../../verify/policy-rules.ts'
import { UpstreamVerdictSchema } from '../../../upstream/verdict.ts'
import { AuthenticationSchema } from '../../../push/receipt.ts'
import { contentSums, fileFields, hasSignature } from './pack.ts'

export const bundleFile = described(v.string(), 'The bundle, as the command line named it')

/** A bundle that was opened, and who signed it. */
export const openedFields = {
  bundle: v.object({ ...BundleIdentitySchema.entries, ...fileFields, tool: ToolSchema }),
  hasSignature,
  authentication: v.object({
    ...AuthenticationSchema.entries,
    keyFile: v.optional(described(v.string(), 'The file of the key that the signature was checked with')),
    signature: v.optional(
      described(v.string(), 'The good signature: an entry of the bundle, or a given file'),
    ),
  }),
  ...policySchemas,
}

/** A report that was written. */
export const ReportFileSchema = v.object({
  file: v.string(),
  digest: described(digest, 'SHA-256 of the file'),
  keyFingerprint: v.optional(
    described(keyFingerprint, 'The key that signed it: SHA-256 of the public key in DER'),
  ),
})

/** The output of `verify --json` and `inspect --json`. */
export const EvidenceSchema = v.object({
  file: bundleFile,
  verdict: described(
    v.picklist(['good', 'integrity-only', 'not-verified']),
    'good: everything checked, signature included; integrity-only: complete and unaltered, but it was not checked who made it; not-verified: from inspect',
  ),
  ...openedFields,
  ...sequenceSchemas,
  platforms: PlatformsSchema,
  images: v.array(ImageEntrySchema),
  skipped: v.optional(SkippedSchema),
  ...contentSums,
  resolvedByMirror: described(
    v.array(source),
    'Images whose digest was resolved by a mirror, not by the source (resolvedFrom)',
  ),
  digestChanged: described(
    v.array(source),
    "Images delivered under another digest than the source's (sourceDigest)",
  ),
  upstream: v.optional(
    described(
      v.array(UpstreamVerdictSchema),
      "Results for the upstreams' signatures (--upstream), one for each image",
    ),
  ),
  report: v.optional(described(ReportFileSchema, 'With verify --report: where the report is')),
})
export type Evidence = Known<v.InferOutput<typeof EvidenceSchema>>
