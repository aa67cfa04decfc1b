import * as v from 'valibot'
import {
  BundleIdentitySchema,
  ImageEntrySchema,
  PlatformsSchema,
  SkippedSchema,
  ToolSchema,
} from '../../bundle/description.ts'
import {
  described,
  digest,
  instant,
  keyFingerprint,
  sum,
  wholeNumber,
  type Known,
} from '../../bundle/fields.ts'
import { canonicalJson } from '../../oci/json.ts'
import { policySchemas, sequenceSchemas } from '../policy-rules.ts'
import { identityName, issuerName } from '../signers.ts'
import { UpstreamVerdictSchema } from '../../upstream/verdict.ts'

const asTyped = 'as it was typed'

/** One thing that was checked. */
const RuleSchema = v.object({
  rule: described(
    v.string(),
    'signature: made by somebody whom the caller trusts; bundle-digest, name, least-sequence: what the caller expects; not-expired; archive: exactly the entries listed, in their one form; description: airgap.json; images: manifests, indexes and what they reach; content: the bytes of every blob; further ones are keys of the policy',
  ),
  ok: v.optional(
    described(
      v.boolean(),
      'Whether it holds; absent where it was not checked: the caller did without it, or what failed before has kept it from being checked',
    ),
  ),
  expected: described(v.string(), 'What the rule asks for; for people'),
  found: v.optional(described(v.string(), 'What there is; for people. Absent where it was not come to')),
})
export type ReportedRule = Known<v.InferOutput<typeof RuleSchema>>

const SignerSchema = v.object({
  signature: described(v.string(), 'The signature: an entry of the bundle, or a file given'),
  form: described(v.picklist(['sigstore-bundle', 'raw']), 'raw: the bare bytes, as openssl makes them'),
  keyFingerprint: v.optional(keyFingerprint),
  identity: v.optional(identityName),
  issuer: v.optional(issuerName),
  times: v.optional(
    described(v.array(instant), 'When it was signed, by each log or timestamp authority that was checked'),
  ),
  logEntries: v.optional(
    described(
      v.array(
        v.object({
          logId: described(v.string(), "SHA-256 of the log's public key, hexadecimal"),
          logIndex: described(v.string(), "The entry's place in the log, decimal"),
          integratedTime: v.optional(described(instant, 'When it came there, as the log has promised')),
        }),
      ),
      'Entries of transparency logs that were checked',
    ),
  ),
  trustedRoot: v.optional(described(digest, 'SHA-256 of the trusted root that it was checked with')),
})

const CommandSchema = v.object({
  name: v.string(),
  arguments: described(v.array(v.string()), `What stands without a flag, ${asTyped}`),
  flags: described(
    v.array(v.object({ name: v.string(), value: v.optional(described(v.string(), asTyped)) })),
    'The flags in their order, without the dashes. No flag takes a secret',
  ),
})
/** The command line that has asked for a report. */
export type ReportedCommand = Known<v.InferOutput<typeof CommandSchema>>

/** What a verification has found; published as `docs/schemas/report.schema.json`. */
export const ReportSchema = v.object({
  type: v.literal('dev.airgap.report'),
  formatVersion: v.literal('1.0'),
  tool: ToolSchema,
  runtime: described(v.object({ name: v.string(), version: v.string() }), 'What the tool ran on'),
  command: v.optional(
    described(CommandSchema, 'The command line; absent where a program has called the library'),
  ),
  host: v.object({
    name: described(v.string(), 'The host name. It is what the machine says of itself'),
    platform: described(v.string(), 'The operating system, like linux'),
    release: described(v.string(), "The operating system's release; for Linux, of the kernel"),
    architecture: described(v.string(), 'Like x64 or arm64'),
    uptimeSeconds: described(wholeNumber, 'How long the machine has been up'),
    utcOffsetMinutes: described(v.pipe(v.number(), v.integer()), 'The time zone: local time minus UTC'),
  }),
  started: described(instant, 'When the verification began, by the clock of this machine'),
  finished: described(instant, 'When it came to its verdict, by the clock of this machine'),
  elapsedMilliseconds: described(
    wholeNumber,
    'Time from started to finished by a clock that nobody can set: where it is another than the difference of the two, the clock was set meanwhile',
  ),
  policy: policySchemas.policy,
  clock: policySchemas.clock,
  ...sequenceSchemas,
  verdict: described(
    v.picklist(['good', 'integrity-only', 'failed', 'incomplete']),
    'good: everything checked, signature included; integrity-only: complete and unaltered, nobody vouches for it; failed: do not use it; incomplete: no fault was found, and not everything was checked (a push that broke off)',
  ),
  file: v.object({
    path: described(v.string(), `The bundle, ${asTyped}`),
    size: described(wholeNumber, 'Bytes'),
    digest: v.optional(
      described(
        digest,
        'SHA-256 of the whole file, of the same bytes that were verified; absent in a push, which does not read the file in its order',
      ),
    ),
  }),
  bundle: v.optional(
    described(
      v.object({
        ...v.partial(BundleIdentitySchema, ['name', 'sequence', 'created']).entries,
        tool: v.optional(ToolSchema),
        requires: v.optional(v.array(v.string())),
        platforms: v.optional(PlatformsSchema),
        entries: v.optional(described(wholeNumber, 'How many entries the archive has')),
      }),
      'What the bundle says of itself; as far as it could be read, and vouched for only where the verdict is good',
    ),
  ),
  trusted: described(
    v.object({
      keys: v.array(v.object({ fingerprint: keyFingerprint, file: described(v.string(), asTyped) })),
      identities: v.array(
        v.object({
          identity: described(v.string(), 'Whom a certificate may name; a pattern stands between slashes'),
          issuer: described(v.string(), 'Who has to vouch for it; a pattern stands between slashes'),
        }),
      ),
      trustedRoot: v.optional(
        v.object({ file: described(v.string(), asTyped), digest: described(digest, 'SHA-256 of the file') }),
      ),
      signatures: described(v.array(v.string()), 'Files with signatures given beside the bundle'),
    }),
    'What the verification went by: all of it was given by the caller, and nothing was taken from the bundle',
  ),
  rules: described(v.array(RuleSchema), 'Everything that was checked, or would have been'),
  signers: described(v.array(SignerSchema), 'Every signature that is good'),
  images: described(v.array(ImageEntrySchema), 'Every image, as airgap.json lists it'),
  skipped: v.optional(SkippedSchema),
  upstream: v.optional(
    described(
      v.array(UpstreamVerdictSchema),
      "What came of the upstreams' signatures, where they were checked, one for each image",
    ),
  ),
  blobs: v.optional(
    described(sum, 'Blobs in the archive, each once; where its manifests were not read, these too'),
  ),
  manifests: v.optional(described(sum, 'Manifests and indexes in the archive, each once')),
  problems: described(
    v.array(
      v.object({
        entry: described(v.string(), 'The entry of the bundle, or the image'),
        message: described(v.string(), 'What is wrong; for people'),
        kind: v.optional(
          described(
            v.picklist(['expectation', 'cut-off']),
            'expectation: the file is sound, and is not the one that the caller expects. cut-off: it ends too early, as one that was not copied whole',
          ),
        ),
      }),
    ),
    'Everything that is wrong',
  ),
  receipt: v.optional(
    described(
      v.object({
        digest: described(digest, 'SHA-256 of the receipt as it was written'),
        complete: v.boolean(),
      }),
      'The receipt of the push that this verification belongs to',
    ),
  ),
})
export type Report = Known<v.InferOutput<typeof ReportSchema>>

/** The bytes of a report's file: canonical JSON, which is what is signed. */
export function serializeReport(report: Report): Buffer {
  return canonicalJson(report)
}
