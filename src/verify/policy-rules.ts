import type { BundleDescription, ImageEntry } from '../bundle/description.ts'
import { DESCRIPTION } from '../bundle/names.ts'
import { AirgapError } from '../errors.ts'
import { parsePattern } from '../oci/pattern.ts'
import { matchesPlatform, parsePlatform } from '../oci/platform.ts'
import { parseReference } from '../oci/reference.ts'
import type { BundleRules } from '../trust/policy/policy.ts'
import { formatMoment } from '../bytes.ts'
import { formatAge } from '../trust/policy/times.ts'
import type { CountedSignature, RuleVerdict } from '../trust/policy/requirement.ts'
import { signerName } from './signers.ts'
import type { Authentication, Trust } from './authenticate.ts'
import type { OpenedBundle } from './opened-bundle.ts'
import * as v from 'valibot'
import { described, digest, keyFingerprint, type Known, moment, wholeNumber } from '../bundle/fields.ts'

const RuleSchema = v.object({
  rule: described(v.string(), 'The key in the policy, like require or bundle.maxAge'),
  ok: described(v.boolean(), 'Whether the bundle meets it; one that does not is refused'),
  expected: described(v.string(), 'What the policy requires; for people'),
  found: described(v.string(), 'What was found; for people'),
})

const SignatureSchema = v.object({
  name: described(v.string(), 'The entry of the bundle or the file that holds it'),
  signer: v.optional(described(v.string(), 'The signer in the policy whose signature it is')),
  counts: described(v.boolean(), 'Whether it counts; every signer counts only once'),
  reason: v.optional(described(v.string(), 'Why it does not count; for people')),
  keyFingerprint: v.optional(keyFingerprint),
  identity: v.optional(described(v.string(), 'The identity in its certificate')),
  issuer: v.optional(described(v.string(), 'Who vouches for that identity')),
})

/** Fields about the policy that a bundle was checked with, and about the clock. */
export const policySchemas = {
  policy: v.optional(
    described(
      v.object({
        file: described(v.string(), 'The policy file, as given on the command line'),
        digest: described(digest, 'SHA-256 of the policy file'),
        signatures: described(v.array(SignatureSchema), 'Every signature, good or not'),
      }),
      'The policy that the bundle was checked with',
    ),
  ),
  rules: v.optional(described(v.array(RuleSchema), 'Every rule of the policy, with what was found')),
  clock: v.optional(
    described(
      v.object({
        now: described(moment, "The time by this machine's clock"),
        created: described(moment, 'When the bundle was created, according to itself'),
      }),
      "Present only if this machine's clock is earlier than the bundle's creation: expiry and age cannot be checked with it",
    ),
  ),
}

/** Fields about remembered sequences. */
export const sequenceSchemas = {
  sequenceMemory: v.optional(
    described(
      v.picklist(['found', 'none', 'off']),
      'found: an earlier push of this name and signer is remembered; none: no earlier push is; off: pushes are not remembered',
    ),
  ),
  previousSequence: v.optional(described(wholeNumber, 'The last accepted sequence of this name and signer')),
}

type PolicyFields = Known<v.InferOutput<v.ObjectSchema<typeof policySchemas, undefined>>>

/** The result of checking a bundle against the policy and the clock. Empty without a policy and with a plausible clock. */
export function policyFields({ authentication, rules, clock }: OpenedBundle): PolicyFields {
  const signers = authentication.state === 'not-checked' ? undefined : authentication.signers
  return {
    ...(signers
      ? {
          policy: {
            file: signers.policy.source,
            digest: signers.policy.digest,
            signatures: signers.signatures.map(signatureFields),
          },
        }
      : {}),
    ...(rules ? { rules: rules.map((rule) => ({ ...rule })) } : {}),
    ...(clock ? { clock: { ...clock } } : {}),
  }
}

function signatureFields({
  name,
  by,
  signer,
  refused,
}: CountedSignature): NonNullable<PolicyFields['policy']>['signatures'][number] {
  return {
    name,
    ...(signer === undefined ? {} : { signer }),
    counts: refused === undefined,
    ...(refused === undefined ? {} : { reason: refused }),
    ...(by ? signerName(by) : {}),
  }
}

/** The verdicts on the policy's rules about signers; undefined if no policy counted signatures. */
export function signerVerdicts(authentication: Authentication): readonly RuleVerdict[] | undefined {
  return authentication.state === 'not-checked' ? undefined : authentication.signers?.rules
}

/** Step 4 of the verification, for a policy: checks the description. The rules about signers are checked in step 1. */
export function checkRules(opened: OpenedBundle, description: BundleDescription, trust: Trust): void {
  if (!trust.policy) return
  const verdicts = measureRules(description, trust.policy.bundle, trust.now)
  opened.rules = [...(opened.rules ?? []), ...verdicts]
  for (const { rule, ok, expected, found } of verdicts) {
    if (ok) continue
    opened.problems.push({
      entry: DESCRIPTION,
      message: `the policy requires ${expected} (${rule}), but found: ${found}`,
      kind: 'expectation',
    })
  }
}

/**
 * Compares a description with a policy.
 * @param now milliseconds since 1970, for the age.
 * @returns one verdict for each rule in the policy, in a fixed order.
 */
export function measureRules(description: BundleDescription, rules: BundleRules, now: number): RuleVerdict[] {
  return [...bundleVerdicts(description, rules, now), ...imageVerdicts(description, rules)]
}

function bundleVerdicts(
  { name, sequence, created, expires }: BundleDescription,
  { names, minSequence, maxAge, requireExpiry }: BundleRules,
  now: number,
): RuleVerdict[] {
  const verdicts: RuleVerdict[] = []
  if (names !== undefined) {
    const quoted = names.map((each) => JSON.stringify(each)).join(' or ')
    verdicts.push({
      rule: 'bundle.name',
      ok: names.includes(name),
      expected: `the name ${quoted}`,
      found: JSON.stringify(name),
    })
  }
  if (minSequence !== undefined) {
    verdicts.push({
      rule: 'bundle.minSequence',
      ok: sequence >= minSequence,
      expected: `a sequence of at least ${minSequence}`,
      found: String(sequence),
    })
  }
  if (maxAge !== undefined) {
    const age = now - Date.parse(created)
    const ok = age <= maxAge.milliseconds
    const clock = age > maxAge.milliseconds ? `; this machine's clock says ${formatMoment(now)}` : ''
    verdicts.push({
      rule: 'bundle.maxAge',
      ok,
      expected: `an age of at most ${maxAge.text}`,
      found:
        age < 0
          ? `created ${created}, which is in the future`
          : `${formatAge(age)}, created ${created}${clock}`,
    })
  }
  if (requireExpiry === true) {
    verdicts.push({
      rule: 'bundle.requireExpiry',
      ok: expires !== undefined,
      expected: 'an expiry',
      found: expires ?? 'it never expires',
    })
  }
  return verdicts
}

function imageVerdicts(
  { images, skipped = [] }: BundleDescription,
  { sources, platforms, allowMirrorDigests, allowChangedDigests, allowSkipped }: BundleRules,
): RuleVerdict[] {
  const verdicts: RuleVerdict[] = []
  const measure = (rule: string, expected: string, good: string, odd: readonly string[]): void => {
    verdicts.push({ rule, ok: odd.length === 0, expected, found: odd.length === 0 ? good : listed(odd) })
  }
  const each = (fault: (image: ImageEntry) => string | undefined): string[] =>
    images.flatMap((image) => fault(image) ?? [])
  if (sources !== undefined) {
    const patterns = sources.map((text) => parsePattern(text))
    const odd = each(({ source }) => {
      const reference = parseReference(source)
      return patterns.some((matches) => matches(reference)) ? undefined : source
    })
    measure('images.sources', `images from ${sources.join(', ')}`, 'all are', odd)
  }
  if (platforms !== undefined) {
    const allowed = platforms.map((text) => parsePlatform(text))
    const odd = each(({ source, platforms: own }) => {
      const others = own
        .filter(({ platform }) => !isAllowed(platform, allowed))
        .map(({ platform }) => platform)
      return others.length === 0 ? undefined : `${source} (${[...new Set(others)].join(', ')})`
    })
    measure('images.platforms', `images for ${platforms.join(', ')} only`, 'all are', odd)
  }
  if (allowMirrorDigests === false) {
    const odd = each(({ source, resolvedFrom }) =>
      resolvedFrom === 'source' ? undefined : `${source} (by ${resolvedFrom})`,
    )
    measure('images.allowMirrorDigests', 'digests that were resolved at their sources', 'all are', odd)
  }
  if (allowChangedDigests === false) {
    const odd = each(({ source, digest, sourceDigest }) => (digest === sourceDigest ? undefined : source))
    measure('images.allowChangedDigests', "images under their sources' own digests", 'all are', odd)
  }
  if (allowSkipped === false) {
    const odd = skipped.map(({ source }) => source)
    measure('images.allowSkipped', 'every requested image', 'none was left out', odd)
  }
  return verdicts
}

/** Whether a platform is allowed. Images can state any text as their platform; one that is not valid is not allowed. */
function isAllowed(text: string, allowed: readonly ReturnType<typeof parsePlatform>[]): boolean {
  try {
    const platform = parsePlatform(text)
    return allowed.some((each) => matchesPlatform(each, platform))
  } catch (error) {
    if (error instanceof AirgapError) return false
    throw error
  }
}

const MAX_LISTED = 10

function listed(names: readonly string[]): string {
  const left = names.length - MAX_LISTED
  return `${names.slice(0, MAX_LISTED).join(', ')}${left > 0 ? `, and ${left} more` : ''}`
}
