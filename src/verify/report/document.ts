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

const asTyped = 'as typed'

/** One check. */
const RuleSchema = v.object({
  rule: described(
    v.string(),
    'signature: made by somebody whom the caller trusts; bundle-digest, name, least-sequence: what the caller expects; not-expired; archive: exactly the listed entries, in their only valid form; description: airgap.json; images: manifests, indexes and what they reach; content: the bytes of every blob; all others are keys of the policy',
  ),
  ok: v.optional(
    described(
      v.boolean(),
      'Whether the bundle meets it; absent if it was not checked, because the caller did not ask for it or something failed before',
    ),
  ),
  expected: described(v.string(), 'What the rule requires; for people'),
  found: v.optional(described(v.string(), 'What was found; for people. Absent if it was not checked')),
})
export type ReportedRule = Known<v.InferOutput<typeof RuleSchema>>

const SignerSchema = v.object({
  signature: described(v.string(), 'The entry of the bundle or the file with the signature'),
  form: described(v.picklist(['sigstore-bundle', 'raw']), 'raw: the bare signature, as openssl makes it'),
  keyFingerprint: v.optional(keyFingerprint),
  identity: v.optional(identityName),
  issuer: v.optional(issuerName),
  times: v.optional(
    described(
      v.array(instant),
      'When it was signed, according to each log or timestamp authority that was checked',
    ),
  ),
  logEntries: v.optional(
    described(
      v.array(
        v.object({
          logId: described(v.string(), "SHA-256 of the log's public key, hexadecimal"),
          logIndex: described(v.string(), "The entry's index in the log, decimal"),
          integratedTime: v.optional(
            described(instant, 'When it was added to the log, according to the log'),
          ),
        }),
      ),
      'The transparency log entries that were checked',
    ),
  ),
  trustedRoot: v.optional(described(digest, 'SHA-256 of the trusted root used to check it')),
})

const CommandSchema = v.object({
  name: v.string(),
  arguments: described(v.array(v.string()), `The arguments, ${asTyped}`),
  flags: described(
    v.array(v.object({ name: v.string(), value: v.optional(described(v.string(), asTyped)) })),
    'The flags in order, without the dashes. No flag takes a secret',
  ),
})
/** The command line that asked for a report. */
export type ReportedCommand = Known<v.InferOutput<typeof CommandSchema>>

/** The result of a verification; published as `docs/schemas/report.schema.json`. */
export const ReportSchema = v.object({
  type: v.literal('dev.airgap.report'),
  formatVersion: v.literal('1.0'),
  tool: ToolSchema,
  runtime: described(v.object({ name: v.string(), version: v.string() }), 'The runtime of the tool'),
  command: v.optional(described(CommandSchema, 'The command line; absent if a program called the library')),
  host: v.object({
    name: described(v.string(), 'The host name, according to the machine'),
    platform: described(v.string(), 'The operating system, like linux'),
    release: described(v.string(), "The operating system's release; for Linux, that of the kernel"),
    architecture: described(v.string(), 'Like x64 or arm64'),
    uptimeSeconds: described(wholeNumber, 'How long the machine has been up'),
    utcOffsetMinutes: described(v.pipe(v.number(), v.integer()), 'The time zone: local time minus UTC'),
  }),
  started: described(instant, 'When the verification began, by the clock of this machine'),
  finished: described(instant, 'When the verification ended, by the clock of this machine'),
  elapsedMilliseconds: described(
    wholeNumber,
    'Time from started to finished by a clock that nobody can set. If it differs from finished minus started, the clock was changed meanwhile',
  ),
  policy: policySchemas.policy,
  clock: policySchemas.clock,
  ...sequenceSchemas,
  verdict: described(
    v.picklist(['good', 'integrity-only', 'failed', 'incomplete']),
    'good: everything was checked, including the signature; integrity-only: complete and consistent, but no signature was checked; failed: do not use it; incomplete: no fault was found, but not everything was checked (a push that broke off)',
  ),
  file: v.object({
    path: described(v.string(), `The bundle, ${asTyped}`),
    size: described(wholeNumber, 'Bytes'),
    digest: v.optional(
      described(
        digest,
        'SHA-256 of the whole file, of the same bytes that were verified; absent for a push, which does not read the file in order',
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
      'What the bundle says about itself, as far as it could be read. Authenticated only if the verdict is good',
    ),
  ),
  trusted: described(
    v.object({
      keys: v.array(v.object({ fingerprint: keyFingerprint, file: described(v.string(), asTyped) })),
      identities: v.array(
        v.object({
          identity: described(v.string(), 'The accepted identity; a pattern is between slashes'),
          issuer: described(v.string(), 'Who has to vouch for it; a pattern is between slashes'),
        }),
      ),
      trustedRoot: v.optional(
        v.object({ file: described(v.string(), asTyped), digest: described(digest, 'SHA-256 of the file') }),
      ),
      signatures: described(v.array(v.string()), 'The files with detached signatures'),
    }),
    'What the caller trusts. None of it comes from the bundle',
  ),
  rules: described(v.array(RuleSchema), 'All checks, including those that were not reached'),
  signers: described(v.array(SignerSchema), 'Every good signature'),
  images: described(v.array(ImageEntrySchema), 'Every image, as listed in airgap.json'),
  skipped: v.optional(SkippedSchema),
  upstream: v.optional(
    described(
      v.array(UpstreamVerdictSchema),
      "The result of checking the upstreams' signatures, one for each image; absent if they were not checked",
    ),
  ),
  blobs: v.optional(
    described(sum, 'The blobs in the archive; including the manifests, if they could not be read'),
  ),
  manifests: v.optional(described(sum, 'The manifests and indexes in the archive')),
  problems: described(
    v.array(
      v.object({
        entry: described(v.string(), 'The entry of the bundle, or the image'),
        message: described(v.string(), 'What is wrong; for people'),
        kind: v.optional(
          described(
            v.picklist(['expectation', 'cut-off']),
            'expectation: the file is sound, but not the one that the caller expects. cut-off: the file ends too early, like one that was not copied completely',
          ),
        ),
      }),
    ),
    'Everything that is wrong',
  ),
  receipt: v.optional(
    described(
      v.object({
        digest: described(digest, 'SHA-256 of the receipt file'),
        complete: v.boolean(),
      }),
      'The receipt of the push that this verification belongs to',
    ),
  ),
})
export type Report = Known<v.InferOutput<typeof ReportSchema>>

/** The bytes of a report file: canonical JSON. These bytes are signed. */
export function serializeReport(report: Report): Buffer {
  return canonicalJson(report)
}
