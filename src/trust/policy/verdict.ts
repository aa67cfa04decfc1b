import type { Digest } from '../../oci/digest.ts'
import type { SignedBy, VerifiedSignature } from '../verified.ts'

/** One rule of a policy, measured. */
export interface RuleVerdict {
  /** The key in the policy: `require`, `bundle.name`, `images.sources`. */
  rule: string
  ok: boolean
  /** What the policy asks for, in words. */
  expected: string
  /** What there is: the evidence, in words. */
  found: string
}

/** What a signature counted for. */
export interface CountedSignature {
  /** The entry of the bundle or the file that holds it. */
  name: string
  /** Who has made it, where that could be verified. */
  by?: SignedBy | undefined
  /** Whose it is by the policy, where it is one signer's. */
  signer?: string | undefined
  /** Why it counts for nothing, as a clause about it; undefined where it counts. */
  refused?: string | undefined
}

/** What a policy says of the signatures over a bundle. */
export interface SignersVerdict {
  policy: { source: string; digest: Digest }
  /** Every signature that was offered. */
  signatures: readonly CountedSignature[]
  /** Those that count, in the order in which they were offered. */
  counted: readonly VerifiedSignature[]
  rules: readonly RuleVerdict[]
  /** The key of one that counts has an end (`notAfter`), so that the verdict depends on this machine's clock. */
  usesClock: boolean
  /** What to tell of each rule that does not hold: what was found, and what would satisfy it. */
  faults: readonly string[]
}
