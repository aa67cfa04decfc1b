import { plural } from './format.ts'
import { escapeLine } from '../../text.ts'
import { fitted } from './wrap.ts'
import type { Evidence } from './shapes/evidence.ts'

type Policed = Pick<Evidence, 'policy' | 'rules'>

/** The signers whose signatures count, each once. */
export function countedSigners({ policy }: Policed): string {
  const signers = (policy?.signatures ?? []).flatMap(({ counts, signer }) => (counts ? (signer ?? []) : []))
  return [...new Set(signers)].join(', ')
}

/** A summary of the policy, as fields for people; empty without a policy. */
export function policyFieldLines({ policy, rules = [] }: Policed): [string, string][] {
  if (!policy) return []
  return [
    [
      'policy',
      `${escapeLine(policy.file)}: ${rules.length === 1 ? 'its rule holds' : `its ${plural(rules.length, 'rule')} hold`}`,
    ],
    ['policy digest', policy.digest],
  ]
}

/** Every signature with whom it counts for, and every rule with what was found. */
export function renderPolicy({ policy, rules = [] }: Policed): string[] {
  if (!policy) return []
  const signatures = policy.signatures.flatMap(
    ({ name, signer, reason, keyFingerprint, identity, issuer }) => {
      const by =
        keyFingerprint === undefined ? `${identity}, vouched for by ${issuer}` : `key ${keyFingerprint}`
      const lines = [`  ${escapeLine(name)}${reason === undefined ? `: ${signer}` : ''}`]
      if (keyFingerprint !== undefined || identity !== undefined) lines.push(`    ${escapeLine(by)}`)
      if (reason !== undefined) lines.push(below(`DOES NOT COUNT: ${escapeLine(reason)}`))
      return lines
    },
  )
  const found = rules.flatMap(({ rule, ok, expected, found: is }) => [
    `  ${fitted(`${rule}: ${escapeLine(expected)}`, process.stdout, 2)}`,
    below(`${ok ? 'holds' : 'DOES NOT HOLD'}: ${escapeLine(is)}`),
  ])
  return ['', 'Signatures:', ...signatures, '', 'Rules of the policy:', ...found]
}

function below(text: string): string {
  return `    ${fitted(text, process.stdout, 4)}`
}

/** What is remembered from earlier pushes, as a field for people. */
export function sequenceField({
  bundle,
  sequenceMemory,
  previousSequence,
}: {
  bundle: { name: string; sequence: number }
  sequenceMemory?: 'found' | 'none' | 'off' | undefined
  previousSequence?: number | undefined
}): [string, string][] {
  if (sequenceMemory === undefined || sequenceMemory === 'off') return []
  const before =
    previousSequence === undefined ? 'no earlier one is remembered' : `the last one was ${previousSequence}`
  return [['sequence', `${bundle.sequence} of ${escapeLine(JSON.stringify(bundle.name))}; ${before}`]]
}
