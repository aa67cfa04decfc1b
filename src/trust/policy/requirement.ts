import { AirgapError } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { SignedBy, VerifiedSignature } from '../verified.ts'

/** Who has to have signed, as it is written. */
export interface Requirement {
  /** How many people, or every one of them. */
  count: number | 'all'
  /** Signers or groups. */
  names: readonly string[]
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$/
const MAX_COUNT = 1000

/**
 * Reads `2 of [alice, bob, carol]`, `all of [alice, bob]`, `1 of operators`, or a name alone.
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
  if (twice !== undefined) throw invalid(`names ${twice} twice; everybody counts once`)
  if (count === 'all') return { count: 'all', names }
  const number = count === undefined || count === 'any' ? 1 : Number(count)
  if (number < 1) throw invalid('asks for 0 signers; take it out, and any one signer is enough')
  if (number > MAX_COUNT) throw invalid(`asks for more than ${MAX_COUNT} signers`)
  return { count: number, names }
}

function unreadable(text: string): AirgapError {
  return invalid(
    `is ${JSON.stringify(text.slice(0, 80))}, and has to be like 2 of [alice, bob, carol], all of operators, or a name`,
  )
}

function invalid(message: string): AirgapError {
  return new AirgapError('INVALID_POLICY', message)
}

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
