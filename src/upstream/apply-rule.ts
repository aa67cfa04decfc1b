import type { ImageEntry } from '../bundle/description.ts'
import type { ReferrerEntry } from '../bundle/referrers.ts'
import { reasonOf } from '../bundle/skipped.ts'
import type { UpstreamRecord } from '../bundle/upstream.ts'
import { parseReference } from '../oci/reference.ts'
import type { Root } from '../trust/identity/trusted-root.ts'
import { ruleFor, type UpstreamPolicy, type UpstreamRule } from '../trust/upstream/rule.ts'
import { noRule, notVerified, reasonText } from './faults.ts'
import type { ImageDemand, verifyImage } from './verify-image.ts'

/** What a policy has come to for an image. */
export interface Applied {
  record: UpstreamRecord
  /** What holds the signature, where there is one. */
  entry?: ReferrerEntry
}

/**
 * Applies a policy to one image: the first rule that is for it.
 * @param verify is called only where the rule wants a signature.
 * @throws AirgapError `UPSTREAM_NOT_VERIFIED`, and what reading throws: a source that cannot be asked is no image without
 *   a signature.
 */
export async function applyPolicy(
  image: ImageEntry,
  { policy, root }: { policy: UpstreamPolicy; root: Root | undefined },
  verify: (demand: ImageDemand) => ReturnType<typeof verifyImage>,
): Promise<Applied> {
  const rule = ruleFor(policy, parseReference(image.source))
  if (!rule) throw noRule(image)
  const { demand } = rule
  const named = { rule: nameOfRule(rule) }
  if (demand.kind === 'skip') {
    return { record: { state: 'skipped', ...named, reason: reasonOf(demand.reason) } }
  }
  const { by, dockerReference } = demand
  const verdict = await verify({ by, dockerReference, root })
  if (verdict.ok) {
    const { subject, signature, entry } = verdict.found
    return { record: { state: 'verified', ...named, subject, signature }, entry }
  }
  if (demand.onFailure === 'fail') throw notVerified(image, rule, verdict.reasons)
  return { record: { state: 'warned', ...named, reason: reasonOf(reasonText(image, verdict.reasons)) } }
}

function nameOfRule({ pattern, preset }: UpstreamRule): UpstreamRecord['rule'] {
  return { pattern, ...(preset === undefined ? {} : { preset }) }
}
