import { AirgapError } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { SignedBy, VerifiedSignature } from '../verified.ts'

/** Who must have signed, as written. */
export interface Requirement {
  /** How many people, or all of them. */
  count: number | 'all'
  /** Signers or groups. */
  names: readonly string[]
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$/
const MAX_COUNT = 1000

/**
 * Parses `2 of [alice, bob, carol]`, `all of [alice, bob]`, `1 of operators`, or a single name.
 * @throws AirgapError `INVALID_POLICY`
 */
export function parseRequirement(text: string): Requirement {
  const match = /^(?:([0-9]{1,4}|all|any) +of +)?(?:\[([^[\]]*)\]|([^[\] ]+))$/.exec(text.trim())
  const [, count, list, name] = match ?? []
  if (!match || (count === undefined && name === undefined)) throw unreadable(text)
  const names = name === undefined ? (list ?? '').split(',').map((part) => part.trim()) : [name]
  const bad = names.find((each) => !NAME.test(each))
  if (bad !== undefined) {
    throw names.length === 1 && bad === ''
      ? invalid('names nobody: [] is empty')
      : invalid(`names ${JSON.stringify(bad.slice(0, 70))}, which cannot be a signer or a group`)
  }
  const twice = names.find((each, i) => names.indexOf(each) !== i)
  if (twice !== undefined) throw invalid(`names ${twice} twice, but everybody counts once`)
  if (count === 'all') return { count: 'all', names }
  const number = count === undefined || count === 'any' ? 1 : Number(count)
  if (number < 1) throw invalid('asks for 0 signers; remove it, and any one signer is enough')
  if (number > MAX_COUNT) throw invalid(`asks for more than ${MAX_COUNT} signers`)
  return { count: number, names }
}

function unreadable(text: string): AirgapError {
  return invalid(
    `is ${JSON.stringify(text.slice(0, 80))}, but must be like 2 of [alice, bob, carol], all of operators, or a name`,
  )
}

function invalid(message: string): AirgapError {
  return new AirgapError('INVALID_POLICY', message)
}

/** The result for one rule of a policy. */
export interface RuleVerdict {
  /** The key in the policy: `require`, `bundle.name`, `images.sources`. */
  rule: string
  ok: boolean
  /** What the policy demands, for people. */
  expected: string
  /** What was found, for people. */
  found: string
}

/** A signature, and whom it counts for. */
export interface CountedSignature {
  /** The bundle entry or the file that contains it. */
  name: string
  /** Who made it, if that could be verified. */
  by?: SignedBy | undefined
  /** The signer in the policy, if there is exactly one. */
  signer?: string | undefined
  /** Why it does not count, as a clause about it; undefined if it counts. */
  refused?: string | undefined
}

/** The result of a policy for the signatures over a bundle. */
export interface SignersVerdict {
  policy: { source: string; digest: Digest }
  /** Every given signature. */
  signatures: readonly CountedSignature[]
  /** Those that count, in the order given. */
  counted: readonly VerifiedSignature[]
  rules: readonly RuleVerdict[]
  /** A counted key has an end (`notAfter`), so the verdict depends on this machine's clock. */
  usesClock: boolean
  /** A message for each rule that does not hold: what was found, and what would satisfy it. */
  faults: readonly string[]
}
