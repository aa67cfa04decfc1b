import * as v from 'valibot'
import { type ImageEntry, source } from '../bundle/description.ts'
import { described, digest, type Known } from '../bundle/fields.ts'
import { upstreamReason, upstreamRule, upstreamSignature } from '../bundle/upstream.ts'
import type { ItemOutcome } from '../content/events.ts'
import { AirgapError } from '../errors.ts'
import { cosignTag } from '../oci/cosign.ts'
import { describeSigners, type UpstreamRule } from '../trust/upstream/rule.ts'

/** At most this many reasons are named; the others are counted. */
const MOST_TOLD = 4

/** What is wrong with an image's signatures, as one clause. */
export function reasonText({ sourceDigest }: ImageEntry, reasons: readonly string[]): string {
  if (reasons.length === 0) {
    return `there is none: neither a tag ${cosignTag(sourceDigest, 'sig')} nor a Sigstore bundle that refers to it`
  }
  const told = [...new Set(reasons)]
  const left = told.length - MOST_TOLD
  const more = left > 0 ? `; and ${left} more` : ''
  const text = told.slice(0, MOST_TOLD).join('; ') + more
  return reasons.length === 1 ? text : `none of ${reasons.length} is good: ${text}`
}

/** The error for an image without the signature that its rule demands. */
export function notVerified(image: ImageEntry, rule: UpstreamRule, reasons: readonly string[]): AirgapError {
  const by = rule.demand.kind === 'signature' ? describeSigners(rule.demand.by) : ''
  return new AirgapError(
    'UPSTREAM_NOT_VERIFIED',
    `its upstream's signature was not verified: ${reasonText(image, reasons)}`,
    {
      subject: image.source,
      hint: `The rule ${rule.pattern} (${rule.place}) demands one by ${by}. If that is no longer right, or the image is known to be unsigned, change the policy (add a rule before it with skip: REASON). Skipping images that cannot be resolved does not skip this one.`,
    },
  )
}

/** The error for an image that no rule of the policy matches. */
export function noRule({ source }: ImageEntry): AirgapError {
  return new AirgapError('UPSTREAM_NOT_VERIFIED', `no rule of the upstream policy matches this image`, {
    subject: source,
    hint: "Add a rule that says who signs it, or one with skip: REASON. A last rule with the pattern '*' and skip: REASON accepts everything else, and records that.",
  })
}

/** The result for an image's upstream when a bundle was verified, offline, only from the bundle's content. */
export const UpstreamVerdictSchema = v.object({
  image: source,
  state: described(
    v.picklist(['verified', 'warned', 'skipped', 'failed']),
    'verified: see `signature`; warned: not verified, which the policy accepts; skipped: not checked; failed: not verified',
  ),
  basis: described(
    v.picklist(['policy', 'record']),
    "What says who must have signed it: the caller's policy, or the packer's record in the bundle",
  ),
  rule: v.optional(upstreamRule),
  reason: v.optional(upstreamReason),
  subject: v.optional(described(digest, 'What is signed')),
  covers: v.optional(
    described(
      v.picklist(['source', 'delivered']),
      'source: what the name refers to at the source, of which the delivered image is a verified part; delivered: the delivered manifest itself',
    ),
  ),
  signature: v.optional(upstreamSignature),
})
export type UpstreamVerdict = Known<v.InferOutput<typeof UpstreamVerdictSchema>>

/** The outcome in progress events for each state. */
export const OUTCOMES = {
  verified: 'verified',
  warned: 'unverified',
  skipped: 'skipped',
  failed: 'unverified',
} as const satisfies Record<UpstreamVerdict['state'], ItemOutcome>
