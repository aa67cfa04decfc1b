import * as v from 'valibot'
import { type ImageEntry, source } from '../bundle/description.ts'
import { described, digest, type Known } from '../bundle/fields.ts'
import { upstreamReason, upstreamRule, upstreamSignature } from '../bundle/upstream.ts'
import type { ItemOutcome } from '../content/events.ts'
import { AirgapError } from '../errors.ts'
import { cosignTag } from '../oci/cosign.ts'
import { describeSigners, type UpstreamRule } from '../trust/upstream/rule.ts'

/** So many things that are wrong are told; the rest is counted. */
const MOST_TOLD = 4

/** What is wrong with an image's signatures, in one clause. */
export function reasonText({ sourceDigest }: ImageEntry, reasons: readonly string[]): string {
  if (reasons.length === 0) {
    return `there is none: neither a tag ${cosignTag(sourceDigest, 'sig')}, nor a Sigstore bundle that refers to it`
  }
  const told = [...new Set(reasons)]
  const left = told.length - MOST_TOLD
  const more = left > 0 ? `; and ${left} more` : ''
  const text = told.slice(0, MOST_TOLD).join('; ') + more
  return reasons.length === 1 ? text : `of ${reasons.length} none is good: ${text}`
}

/** The error of an image whose rule wants a signature that could not be had. */
export function notVerified(image: ImageEntry, rule: UpstreamRule, reasons: readonly string[]): AirgapError {
  const by = rule.demand.kind === 'signature' ? describeSigners(rule.demand.by) : ''
  return new AirgapError(
    'UPSTREAM_NOT_VERIFIED',
    `its upstream's signature was not verified: ${reasonText(image, reasons)}`,
    {
      subject: image.source,
      hint: `The rule ${rule.pattern} (${rule.place}) wants one by ${by}. If that is no longer right, or the image is known to be unsigned, change the policy (a rule before it with skip: REASON). What is not verified is never skipped as what cannot be resolved.`,
    },
  )
}

/** The error of an image that a policy says nothing about. */
export function noRule({ source }: ImageEntry): AirgapError {
  return new AirgapError('UPSTREAM_NOT_VERIFIED', `no rule of the upstream policy is for this image`, {
    subject: source,
    hint: "Add a rule that says who signs it, or one with skip: REASON. A last rule with the pattern '*' and skip: REASON lets everything else pass, and that is recorded.",
  })
}

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
