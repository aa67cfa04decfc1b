import * as v from 'valibot'
import { source } from '../bundle/description.ts'
import { described, digest, type Known } from '../bundle/fields.ts'
import { upstreamReason, upstreamRule, upstreamSignature } from '../bundle/upstream.ts'
import type { ItemOutcome } from '../content/events.ts'

/** What came of an image's upstream when a bundle was checked: without a network, from the bundle's content alone. */
export const UpstreamVerdictSchema = v.object({
  image: source,
  state: described(
    v.picklist(['verified', 'warned', 'skipped', 'failed']),
    'verified: as `signature` says; warned: it could not be, and that is let pass; skipped: not looked at; failed: it could not be',
  ),
  basis: described(
    v.picklist(['policy', 'record']),
    "Who says by whom it has to be signed: the caller's policy, or the packer's record in the bundle",
  ),
  rule: v.optional(upstreamRule),
  reason: v.optional(upstreamReason),
  subject: v.optional(described(digest, 'What is signed')),
  covers: v.optional(
    described(
      v.picklist(['source', 'delivered']),
      'source: what the name stands for at the source, of which what is delivered is a checked part; delivered: the very manifest that is delivered',
    ),
  ),
  signature: v.optional(upstreamSignature),
})
export type UpstreamVerdict = Known<v.InferOutput<typeof UpstreamVerdictSchema>>

/** What the progress says of an image in each state. */
export const OUTCOMES = {
  verified: 'verified',
  warned: 'unverified',
  skipped: 'skipped',
  failed: 'unverified',
} as const satisfies Record<UpstreamVerdict['state'], ItemOutcome>
