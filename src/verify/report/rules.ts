import type { BundleDescription } from '../../bundle/description.ts'
import { formatMoment } from '../../bundle/fields.ts'
import type { TrustOptions } from '../authenticate.ts'
import type { CheckedPart, OpenedBundle } from '../opened-bundle.ts'
import type { VerifiedSignature } from '../../trust/verified.ts'
import type { ReportedRule } from './document.ts'

/** Every rule that a verification goes by, and what came of it. */
export function rulesOf(opened: OpenedBundle, trust: TrustOptions): ReportedRule[] {
  return [
    signatureRule(opened, trust),
    ...expectations(opened, trust),
    ...(Object.keys(PARTS) as (keyof typeof PARTS)[]).map((part) => partRule(part, opened)),
  ]
}

function signatureRule(opened: OpenedBundle, trust: TrustOptions): ReportedRule {
  const { authentication, checked } = opened
  // The approved digest is judged together with the signatures, and has a rule of its own.
  const faults = (checked.get('signature') ?? 0) - (isOtherDigest(opened, trust) ? 1 : 0)
  const rule = { rule: 'signature', expected: expectedSigners(trust) }
  if (!checked.has('signature')) return rule
  if (faults > 0) return { ...rule, ok: false, found: foundFaults(faults) }
  if (trust.unauthenticated) return rule
  if (authentication.state !== 'signed') return { ...rule, ok: true }
  return { ...rule, ok: true, found: authentication.signatures.map(signerInWords).join('; ') }
}

function expectedSigners({ keys, identities = [], policy, unauthenticated }: TrustOptions): string {
  if (unauthenticated) return 'none: the caller did without a signature'
  if (policy) return `signatures as the policy ${policy.source} asks for`
  const signers = [
    ...keys.map(({ fingerprint, source }) => `by the key ${fingerprint} (${source})`),
    ...identities.map(({ identity, issuer }) => `by ${identity.shown}, vouched for by ${issuer.shown}`),
  ]
  return `a signature ${signers.join(', or ')}`
}

function signerInWords({ name, by }: VerifiedSignature): string {
  return by.kind === 'key'
    ? `${name}, by the key ${by.key.fingerprint}`
    : `${name}, by ${by.identity}, vouched for by ${by.issuer}`
}

function isOtherDigest({ bundleDigest }: OpenedBundle, { expectDigest }: TrustOptions): boolean {
  return expectDigest !== undefined && expectDigest !== bundleDigest
}

/** What the caller expects of the bundle, each judged by itself. */
function expectations(opened: OpenedBundle, trust: TrustOptions): ReportedRule[] {
  const { expectDigest, expectName, minSequence, now } = trust
  const { checked, bundleDigest, description } = opened
  const rules: ReportedRule[] = []
  if (expectDigest !== undefined) {
    const rule = { rule: 'bundle-digest', expected: expectDigest }
    rules.push(
      checked.has('signature') ? { ...rule, ok: !isOtherDigest(opened, trust), found: bundleDigest } : rule,
    )
  }
  const ofDescription = (
    rule: string,
    expected: string,
    judge: (description: BundleDescription) => { ok: boolean; found: string },
  ): void => {
    rules.push({ rule, expected, ...(description ? judge(description) : {}) })
  }
  if (expectName !== undefined) {
    ofDescription('name', expectName, ({ name }) => ({ ok: name === expectName, found: name }))
  }
  if (minSequence !== undefined) {
    ofDescription('least-sequence', String(minSequence), ({ sequence }) => ({
      ok: sequence >= minSequence,
      found: String(sequence),
    }))
  }
  ofDescription('not-expired', `an expiry after ${formatMoment(now)}, or none`, ({ expires }) => ({
    ok: expires === undefined || Date.parse(expires) > now,
    found: expires === undefined ? 'it never expires' : `it expires ${expires}`,
  }))
  return rules
}

/** The integrity of each part, in words. */
const PARTS = {
  archive: 'exactly the entries that SHA256SUMS lists, each once, in their order and in their one form',
  description: 'an airgap.json that is sound',
  images: 'manifests and indexes that agree with airgap.json and with each other, and nothing besides',
  content: 'every blob with the SHA-256 that SHA256SUMS lists',
} as const satisfies Partial<Record<CheckedPart, string>>

function partRule(part: keyof typeof PARTS, { checked }: OpenedBundle): ReportedRule {
  const faults = checked.get(part)
  const rule = { rule: part, expected: PARTS[part] }
  if (faults === undefined) return rule
  return { ...rule, ok: faults === 0, found: foundFaults(faults) }
}

function foundFaults(faults: number): string {
  if (faults === 0) return 'no fault'
  return faults === 1 ? '1 problem' : `${faults} problems`
}
