import { createHash } from 'node:crypto'
import type { BundleHead } from '../../bundle/reader.ts'
import { CHECKSUMS, RAW_SIGNATURE, SIGSTORE_SIGNATURE } from '../../bundle/names.ts'
import type { Problem } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { DetachedSignature } from '../../trust/detached.ts'
import { readKeyBundle } from '../../trust/key-bundle.ts'
import { readCertificateBundle, verifyCertificateBundle } from '../../trust/identity/certificate-bundle.ts'
import type { Identity } from '../../trust/identity/identity.ts'
import type { Root } from '../../trust/identity/trusted-root.ts'
import type { PublicKey } from '../../trust/keys.ts'
import { countSigners } from '../../trust/policy/count.ts'
import type { Policy } from '../../trust/policy/policy.ts'
import type { SignersVerdict } from '../../trust/policy/verdict.ts'
import { signBytes } from '../../trust/signature.ts'
import type { VerifiedSignature } from '../../trust/verified.ts'
import { verifySignature, type GivenSignature } from '../../trust/verify.ts'

/** What the caller trusts and expects. Nothing in a bundle adds to it. */
export interface TrustOptions {
  /** A signature by any key or identity suffices. None at all only together with `unauthenticated`. */
  keys: readonly PublicKey[]
  /** Whom a certificate may name; needs `root`. */
  identities?: readonly Identity[]
  root?: Root | undefined
  /** Who of them has to have signed, and what the bundle has to be; `keys` and `identities` are all that it names. */
  policy?: Policy | undefined
  /** Check integrity alone: whoever made the file could have written anything into it. */
  unauthenticated: boolean
  /** Signatures from beside the bundle, tried after its own. */
  signatures?: readonly { file: string; signature: DetachedSignature }[]
  /** The bundle digest that was approved. */
  expectDigest?: Digest | undefined
  expectName?: string | undefined
  minSequence?: number | undefined
  /** Milliseconds since 1970, for `expires`, ages and the times of keys. NaN: nothing is judged by the time. */
  now: number
}

/** Who answers for the list of digests. */
export type Authentication =
  /**
   * Every signature that is good, the bundle's own before those from beside it; with a policy, those that count, and what
   * it says of all.
   */
  | {
      state: 'signed'
      signatures: readonly [VerifiedSignature, ...VerifiedSignature[]]
      signers?: SignersVerdict
    }
  /** Nothing was authenticated; `hasSignature` says whether the bundle carries a signature. */
  | { state: 'not-checked'; hasSignature: boolean }
  /** `isUnsigned`: no signature was there to be checked. */
  | { state: 'failed'; isUnsigned?: boolean; signers?: SignersVerdict }

/**
 * Step 1: checks the bytes of `SHA256SUMS` against the caller's keys and the digest that the caller expects,
 * before they are parsed.
 */
export function authenticate(
  head: BundleHead,
  bundleDigest: Digest,
  trust: TrustOptions,
  problems: Problem[],
): Authentication {
  let result: Authentication
  if (trust.unauthenticated) {
    checkAgreement(head, problems)
    result = { state: 'not-checked', hasSignature: head.sigstore !== undefined }
  } else {
    result = checkSignatures(head, trust, problems)
  }
  if (trust.expectDigest !== undefined && trust.expectDigest !== bundleDigest) {
    problems.push({
      entry: CHECKSUMS,
      message: `the bundle digest is ${bundleDigest}, not ${trust.expectDigest} as expected: this is another bundle than the one approved`,
    })
    return { state: 'failed' }
  }
  return result
}

function checkSignatures(head: BundleHead, trust: TrustOptions, problems: Problem[]): Authentication {
  const reasons: Problem[] = []
  const good: VerifiedSignature[] = []
  const own = head.sigstore && { bundleJson: head.sigstore, ...(head.raw ? { der: head.raw } : {}) }
  const offered = [
    ...(own ? [{ name: SIGSTORE_SIGNATURE, signature: own }] : []),
    ...(trust.signatures ?? []).map(({ file, signature }) => ({ name: file, signature })),
  ]
  for (const { name, signature } of offered) {
    const verdict = checkSignature(head.checksums, name, signature, trust)
    if (!verdict.ok) {
      reasons.push({ entry: name, message: verdict.reason })
      continue
    }
    good.push(verdict.signature)
    const { by } = verdict.signature
    if (name === SIGSTORE_SIGNATURE && by.kind === 'key') checkForms(head, by.key, problems)
  }
  if (trust.policy) return underPolicy(trust.policy, good, reasons, trust, problems)
  const [first, ...others] = good
  if (first) return { state: 'signed', signatures: [first, ...others] }
  if (reasons.length === 0) {
    reasons.push({
      entry: SIGSTORE_SIGNATURE,
      message: 'the bundle is not signed, and a signature by your key is required',
    })
  }
  problems.push(...reasons)
  return { state: 'failed', isUnsigned: offered.length === 0 }
}

/** A list that too few people have signed is not parsed. */
function underPolicy(
  policy: Policy,
  good: readonly VerifiedSignature[],
  reasons: readonly Problem[],
  { now }: TrustOptions,
  problems: Problem[],
): Authentication {
  const refused = reasons.map(({ entry, message }) => ({ name: entry, reason: message }))
  const signers = countSigners(policy, good, refused, now)
  const [first, ...others] = signers.counted
  const isUnsigned = good.length + reasons.length === 0
  if (first && signers.faults.length === 0)
    return { state: 'signed', signatures: [first, ...others], signers }
  if (isUnsigned) problems.push({ entry: SIGSTORE_SIGNATURE, message: 'the bundle is not signed' })
  problems.push(...signers.faults.map((message) => ({ entry: CHECKSUMS, message })))
  return { state: 'failed', isUnsigned, signers }
}

/** Measures one signature against all that the caller trusts. */
function checkSignature(
  payload: Uint8Array,
  name: string,
  signature: GivenSignature,
  { keys, identities = [], root }: TrustOptions,
): { ok: true; signature: VerifiedSignature } | { ok: false; reason: string } {
  const certified =
    signature.bundleJson && identities.length > 0 ? readCertificateBundle(signature.bundleJson) : undefined
  if (certified?.ok && certified.content === 'message' && root) {
    const verdict = verifyCertificateBundle(certified, payload, root)
    if (!verdict.ok) return verdict
    const { by } = verdict
    const isNamed = identities.some(
      ({ identity, issuer }) => identity.matches(by.identity) && issuer.matches(by.issuer),
    )
    if (isNamed) return { ok: true, signature: { name, form: 'sigstore-bundle', by } }
    return { ok: false, reason: `it was made by ${by.identity} (issuer ${by.issuer}), who is not expected` }
  }
  if (keys.length === 0) {
    return {
      ok: false,
      reason: certified?.ok === false ? certified.reason : 'it is no signature by a certificate',
    }
  }
  const verdict = verifySignature({ payload, signature, keys: [...keys] })
  if (!verdict.ok) return { ok: false, reason: verdict.reason }
  return { ok: true, signature: { name, form: verdict.form, by: { kind: 'key', key: verdict.key } } }
}

/**
 * A bundle's own signature stands there in both forms, spelled as the writer spells them. The signature says
 * nothing about the hint, white space or log entries around it: without this they could be altered unnoticed.
 */
function checkForms(head: BundleHead, key: PublicKey, problems: Problem[]): void {
  const { raw } = head
  if (!raw) {
    const message = `it is missing: a signature by a key has both ${SIGSTORE_SIGNATURE} and ${RAW_SIGNATURE}`
    problems.push({ entry: RAW_SIGNATURE, message })
    return
  }
  const { bundleJson } = signBytes(head.checksums, { publicKey: key, sign: () => raw, warnings: [] })
  if (head.sigstore?.equals(bundleJson)) return
  const message = 'it holds the right signature, but is not spelled as airgap writes it: it has been altered'
  problems.push({ entry: SIGSTORE_SIGNATURE, message })
}

/**
 * Without a key nobody can say whether a signature is good; but the two signature entries hold one signature, and it
 * says that it is over this list. Where they do not, the file has been altered.
 */
function checkAgreement(head: BundleHead, problems: Problem[]): void {
  if (!head.sigstore) return
  const found = readKeyBundle(head.sigstore)
  if (!found.ok) {
    if (found.fault === 'malformed') problems.push({ entry: SIGSTORE_SIGNATURE, message: found.reason })
    return
  }
  if (!head.raw?.equals(found.signature)) {
    problems.push({
      entry: RAW_SIGNATURE,
      message: `it is not the signature that ${SIGSTORE_SIGNATURE} holds`,
    })
  }
  if (!createHash('sha256').update(head.checksums).digest().equals(found.digest)) {
    problems.push({ entry: SIGSTORE_SIGNATURE, message: `it is not over this ${CHECKSUMS}` })
  }
}
