import type { ImageEntry } from '../bundle/description.ts'
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
    `${image.source}: its upstream's signature was not verified: ${reasonText(image, reasons)}`,
    {
      hint: `The rule ${rule.pattern} (${rule.place}) wants one by ${by}. If that is no longer right, or the image is known to be unsigned, change the policy (a rule before it with skip: REASON); --skip-failed does not reach this.`,
    },
  )
}

/** The error of an image that a policy says nothing about. */
export function noRule({ source }: ImageEntry): AirgapError {
  return new AirgapError(
    'UPSTREAM_NOT_VERIFIED',
    `${source}: no rule of the upstream policy is for this image`,
    {
      hint: "Add a rule that says who signs it, or one with skip: REASON. A last rule with the pattern '*' and skip: REASON lets everything else pass, and that is recorded.",
    },
  )
}
