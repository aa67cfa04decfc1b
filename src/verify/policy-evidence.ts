import * as v from 'valibot'
import { described, digest, keyFingerprint, moment, wholeNumber, type Known } from '../bundle/fields.ts'
import type { CountedSignature } from '../trust/policy/verdict.ts'
import { signerName } from './authentication.ts'
import type { OpenedBundle } from './opened-bundle.ts'

const RuleSchema = v.object({
  rule: described(v.string(), 'The key in the policy, like require or bundle.maxAge'),
  ok: described(v.boolean(), 'Whether it holds; a bundle for which one does not is refused'),
  expected: described(v.string(), 'What the policy asks for; for people'),
  found: described(v.string(), 'What there is; for people'),
})

const SignatureSchema = v.object({
  name: described(v.string(), 'The entry of the bundle or the file that holds it'),
  signer: v.optional(described(v.string(), 'Whose it is by the policy')),
  counts: described(v.boolean(), 'Whether it counts; every signer counts once'),
  reason: v.optional(described(v.string(), 'Why it does not count; for people')),
  keyFingerprint: v.optional(keyFingerprint),
  identity: v.optional(described(v.string(), 'Whom its certificate names')),
  issuer: v.optional(described(v.string(), 'Who has vouched for that identity')),
})

/** What documents say of the policy that a bundle was checked with, and of the clock. */
export const policySchemas = {
  policy: v.optional(
    described(
      v.object({
        file: described(v.string(), 'The policy, as the command line named it'),
        digest: described(digest, "SHA-256 of the policy file's bytes"),
        signatures: described(v.array(SignatureSchema), 'Every signature that was offered'),
      }),
      'The policy (--policy) that the bundle was checked with',
    ),
  ),
  rules: v.optional(described(v.array(RuleSchema), 'Every rule of the policy, with what was found')),
  clock: v.optional(
    described(
      v.object({
        now: described(moment, "What this machine's clock said"),
        created: described(moment, 'When the bundle says that it was created'),
      }),
      "There only where this machine's clock is earlier than the bundle's creation: expiry and age cannot be judged by it",
    ),
  ),
}

/** What documents say of the memory of sequences. */
export const sequenceSchemas = {
  sequenceMemory: v.optional(
    described(
      v.picklist(['found', 'none', 'off']),
      'found: an earlier push of this name and signer was remembered; none: there was none; off: nothing is remembered',
    ),
  ),
  previousSequence: v.optional(
    described(wholeNumber, 'The last sequence of this name and signer that was accepted before'),
  ),
}

type PolicyFields = Known<v.InferOutput<v.ObjectSchema<typeof policySchemas, undefined>>>

/** What was found about a bundle by its policy, and by the clock. Empty where there is no policy and the clock is right. */
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
