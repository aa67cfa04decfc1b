import type { SignedBy, VerifiedSignature } from '../verified.ts'
import type { Credential, Policy, PolicySigner, Revocation, SignerRule, Standing } from './policy.ts'
import { formatMoment } from '../../bytes.ts'
import type { CountedSignature, RuleVerdict, SignersVerdict } from './requirement.ts'

/**
 * Checks the signatures over a bundle against a policy. Counts people, not signatures: whoever signed more than once,
 * with whatever keys, counts once. Whom a signature counts for depends only on itself and the policy, so neither the
 * order nor further signatures can take anything away.
 *
 * @param verified the good signatures, by anybody.
 * @param refused the others, each with a clause that says why.
 * @param now milliseconds since 1970.
 */
export function countSigners(
  policy: Policy,
  verified: readonly VerifiedSignature[],
  refused: readonly { name: string; reason: string }[],
  now: number,
): SignersVerdict {
  const judged = verified.map((signature) => ({ signature, ...judge(policy, signature.by, now) }))
  const counted = judged.filter((one) => one.refused === undefined)
  const signatures: CountedSignature[] = [
    ...judged.map(({ signature: { name, by }, signer, refused: reason }) => ({
      name,
      by,
      signer,
      refused: reason,
    })),
    ...refused.map(({ name, reason }) => ({ name, refused: reason })),
  ]
  const people = new Set(counted.flatMap(({ signer }) => signer ?? []))
  const rules = policy.require.map((rule) => ruleVerdict(rule, people))
  const faults = policy.require.flatMap((rule, i) =>
    rules[i]?.ok === true ? [] : [faultOf(rule, { policy, people, signatures, now })],
  )
  return {
    policy: { source: policy.source, digest: policy.digest },
    signatures,
    counted: counted.map(({ signature }) => signature),
    rules,
    usesClock: counted.some(({ hasEnd }) => hasEnd),
    faults,
  }
}

/** The signers of the policy that have this key or identity. */
export function signersWith(policy: Policy, by: SignedByName): PolicySigner[] {
  return policy.signers.filter(({ credentials }) => credentials.some((each) => isBy(each, by)))
}

/** Whether a signature was made with this key, or names this identity. */
export function isBy(credential: Credential, by: SignedByName): boolean {
  if (credential.kind === 'key') return by.kind === 'key' && credential.key.fingerprint === by.key.fingerprint
  const { identity, issuer } = credential.identity
  return by.kind === 'identity' && identity.matches(by.identity) && issuer.matches(by.issuer)
}

/** Identifies a signer: the part of {@link SignedBy} that can be stored and compared later. */
export type SignedByName =
  { kind: 'key'; key: { fingerprint: string } } | { kind: 'identity'; identity: string; issuer: string }

interface Judged {
  signer?: string | undefined
  refused?: string | undefined
  /** Its key has an end date, which is compared with this machine's clock. */
  hasEnd: boolean
}

function judge(policy: Policy, by: SignedBy, now: number): Judged {
  const [signer, ...others] = signersWith(policy, by)
  if (!signer) return { refused: `made by ${signedByText(by)}, who is not in the policy`, hasEnd: false }
  if (others.length > 0) {
    const all = [signer, ...others].map(({ name }) => name).join(' and ')
    return {
      refused: `made by ${signedByText(by)}, which matches ${all}: it would count as several people, so it counts for none of them`,
      hasEnd: false,
    }
  }
  const { name } = signer
  const own = signer.credentials.filter((each) => isBy(each, by))
  const revoked = own.find((each) => each.revoked)?.revoked
  if (revoked) return { signer: name, refused: revokedText(name, revoked), hasEnd: false }
  const reasons = own.map((each) => outside(each, by, now))
  const isInside = reasons.includes(undefined)
  if (!isInside) return { signer: name, refused: `made by ${name}, ${reasons[0]}`, hasEnd: false }
  const hasEnd = by.kind === 'key' && own.some(({ notAfter }) => notAfter !== undefined)
  return { signer: name, hasEnd }
}

/**
 * Why a credential is not valid at the relevant time, as a clause; undefined if it is. A signature by a key has no
 * trustworthy time, so that is now. A signature by an identity has verified times, all of which must be within the
 * limits.
 */
function outside({ notBefore, notAfter }: Standing, by: SignedBy, now: number): string | undefined {
  const times = by.kind === 'key' ? [now] : by.times
  const what = by.kind === 'key' ? 'whose key is' : 'whose identity is'
  if (times.length === 0) return `${what} limited in time, but the signature has no verified time`
  const early = times.find((time) => notBefore !== undefined && time < notBefore)
  const late = times.find((time) => notAfter !== undefined && time > notAfter)
  const when = (time: number): string =>
    by.kind === 'key' ? `now it is ${formatMoment(time)}` : `it was signed at ${formatMoment(time)}`
  if (early !== undefined && notBefore !== undefined) {
    return `${what} accepted from ${formatMoment(notBefore)} on, but ${when(early)}`
  }
  if (late !== undefined && notAfter !== undefined) {
    return `${what} accepted until ${formatMoment(notAfter)}, but ${when(late)}`
  }
  return undefined
}

function revokedText(name: string, { what, date, reason }: Revocation): string {
  const who = what === 'signer' ? `${name}, who is revoked` : `${name}, whose ${what} is revoked`
  const details = [date === undefined ? '' : `since ${date}`, reason ?? ''].filter(Boolean)
  return `made by ${who}${details.length === 0 ? '' : ` (${details.join(': ')})`}`
}

/** The key or identity of a signature, for people. */
export function signedByText(by: SignedByName): string {
  return by.kind === 'key' ? `the key ${by.key.fingerprint}` : `${by.identity} (issuer ${by.issuer})`
}

function ruleVerdict({ text, count, members }: SignerRule, people: ReadonlySet<string>): RuleVerdict {
  const signed = members.filter((name) => people.has(name))
  return {
    rule: 'require',
    ok: signed.length >= count,
    expected: text,
    found: signed.length === 0 ? 'signed by nobody' : `signed by ${signed.join(', ')}`,
  }
}

/** What was found for a rule, and what would satisfy it. */
function faultOf(
  { text, count, members }: SignerRule,
  {
    policy,
    people,
    signatures,
    now,
  }: { policy: Policy; people: ReadonlySet<string>; signatures: readonly CountedSignature[]; now: number },
): string {
  const signed = members.filter((name) => people.has(name))
  const missing = count - signed.length
  const able = members.filter((name) => !people.has(name) && isAble(policy, name, now))
  const has =
    signed.length === 0
      ? 'none of them has'
      : `only ${signed.join(', ')} ${signed.length === 1 ? 'has' : 'have'}`
  const way =
    able.length < missing
      ? `too few others may sign at present${able.length === 0 ? '' : ` (${able.join(', ')})`}`
      : missingText(missing, able)
  const notes = signatures
    .filter(({ refused }) => refused !== undefined)
    .map(({ name, refused }) => `${name} does not count: ${refused}`)
  const rule = text === 'any one signer' ? `any one of ${members.join(', ')}` : text
  return [`the policy requires the signatures of ${rule}, but ${has} signed: ${way}`, ...notes].join('. ')
}

function missingText(missing: number, able: readonly string[]): string {
  const names = able.join(', ')
  const isChoice = able.length > missing
  if (missing === 1) return `a signature of ${isChoice ? `one of ${names}` : names} is missing`
  return `the signatures of ${isChoice ? `${missing} of ${names}` : names} are missing`
}

/** Whether a new signature by this signer would count. */
function isAble({ signers }: Policy, name: string, now: number): boolean {
  const credentials = signers.find((signer) => signer.name === name)?.credentials ?? []
  return credentials.some(
    ({ revoked, notBefore, notAfter }) =>
      !revoked && (notBefore ?? -Infinity) <= now && now <= (notAfter ?? Infinity),
  )
}
