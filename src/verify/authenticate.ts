import { createHash } from 'node:crypto'
import type { BundleHead } from '../bundle/reader.ts'
import { CHECKSUMS, RAW_SIGNATURE, SIGSTORE_SIGNATURE } from '../bundle/names.ts'
import type { Problem } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { DetachedSignature } from '../trust/detached.ts'
import { readKeyBundle } from '../trust/key-bundle.ts'
import {
  isOver,
  readCertificateBundle,
  verifyCertificateBundle,
} from '../trust/identity/certificate-bundle.ts'
import { spellCertificateBundle } from '../trust/keyless/spelling.ts'
import type { PublicKey } from '../trust/keys.ts'
import { countSigners } from '../trust/policy/count.ts'
import type { Policy } from '../trust/policy/policy.ts'
import type { SignersVerdict } from '../trust/policy/requirement.ts'
import { signatureOf } from '../trust/signature.ts'
import type { VerifiedSignature } from '../trust/verified.ts'
import { type Identity, strangerReason } from '../trust/identity/identity.ts'
import { revealed } from '../trust/identity/revealed.ts'
import type { Root } from '../trust/identity/trusted-root.ts'
import { type GivenSignature, verifySignature } from '../trust/verify.ts'
import type { Hints } from '../hints.ts'

/**
 * What the caller trusts and expects; nothing in a bundle adds to it. Without a policy, a signature by any one of the keys
 * and identities is enough. There are neither only with `unauthenticated`.
 */
export interface Trust extends Signers {
  /** Who has to have signed, and what the bundle has to be. `keys` and `identities` are then those of the policy. */
  policy?: Policy | undefined
  /** Check integrity only: anybody can have made the bundle. */
  unauthenticated: boolean
  /** Detached signatures, tried after the bundle's own. */
  signatures?: readonly { file: string; signature: DetachedSignature }[]
  /** The bundle digest that was approved. */
  expectDigest?: Digest | undefined
  expectName?: string | undefined
  minSequence?: number | undefined
  /** Milliseconds since 1970, for `expires`, ages and the times of keys. NaN: no time is checked. */
  now: number
}

/** Who signed the list of digests. */
export type Authentication =
  /**
   * Every good signature, the bundle's own before the detached ones. With a policy, only those that count, and the
   * verdict on all of them.
   */
  | {
      state: 'signed'
      signatures: readonly [VerifiedSignature, ...VerifiedSignature[]]
      signers?: SignersVerdict
    }
  /** No signature was checked; `hasSignature` says whether the bundle has one. */
  | { state: 'not-checked'; hasSignature: boolean }
  /**
   * `isUnsigned`: there was no signature to check. If the signatures are at fault, `says` is the message about the bundle,
   * and `hint` says what to do.
   */
  | { state: 'failed'; isUnsigned?: boolean; says?: string; hint?: Hints; signers?: SignersVerdict }

/**
 * Step 1 of the verification: checks the bytes of `SHA256SUMS` against the caller's keys and the digest that the caller
 * expects, before parsing them.
 */
export function authenticate(
  head: BundleHead,
  bundleDigest: Digest,
  trust: Trust,
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
      message: `the bundle digest is ${bundleDigest}, not ${trust.expectDigest} as expected: this is not the bundle that was approved`,
    })
    return { state: 'failed' }
  }
  return result
}

function checkSignatures(head: BundleHead, trust: Trust, problems: Problem[]): Authentication {
  const reasons: Problem[] = []
  const failed: Extract<SignatureCheck, { ok: false }>[] = []
  const good: VerifiedSignature[] = []
  const own = head.sigstore && { bundleJson: head.sigstore, ...(head.raw ? { der: head.raw } : {}) }
  const offered = [
    ...(own ? [{ name: SIGSTORE_SIGNATURE, signature: own }] : []),
    ...(trust.signatures ?? []).map(({ file, signature }) => ({ name: file, signature })),
  ]
  const ownFaults: Problem[] = []
  for (const { name, signature } of offered) {
    const verdict = checkSignature(head.checksums, name, signature, trust)
    if (!verdict.ok) {
      reasons.push({ entry: name, message: verdict.reason })
      failed.push(verdict)
      // Even if we do not know the signer, the signature has to match this bundle.
      if (signature === own) checkAgreement(head, ownFaults)
      continue
    }
    good.push(verdict.signature)
    const { by } = verdict.signature
    if (signature !== own) continue
    if (by.kind === 'key') checkForms(head, by.key, problems)
    else checkCertificateForm(head, problems)
  }
  if (trust.policy) return underPolicy(trust.policy, { good, reasons, ownFaults }, trust, problems)
  const [first, ...others] = good
  if (first) {
    problems.push(...ownFaults)
    return { state: 'signed', signatures: [first, ...others] }
  }
  if (reasons.length === 0) {
    const wanted = [
      ...(trust.keys.length > 0 ? ['your key'] : []),
      ...(trust.identities?.length ? ['the identity given'] : []),
    ]
    reasons.push({
      entry: SIGSTORE_SIGNATURE,
      message: `the bundle is not signed, but a signature by ${wanted.join(' or ')} is required`,
    })
  }
  problems.push(...reasons)
  const says = whoseInstead(failed, trust)
  const isUnsigned = offered.length === 0
  return { state: 'failed', isUnsigned, hint: wayOut(failed, trust), ...(says === undefined ? {} : { says }) }
}

/** Counts the signatures under a policy. If too few people have signed, the list is not parsed. */
function underPolicy(
  policy: Policy,
  {
    good,
    reasons,
    ownFaults,
  }: { good: readonly VerifiedSignature[]; reasons: readonly Problem[]; ownFaults: readonly Problem[] },
  { now }: Trust,
  problems: Problem[],
): Authentication {
  const refused = reasons.map(({ entry, message }) => ({ name: entry, reason: message }))
  const signers = countSigners(policy, good, refused, now)
  const [first, ...others] = signers.counted
  const isUnsigned = good.length + reasons.length === 0
  if (first && signers.faults.length === 0) {
    problems.push(...ownFaults)
    return { state: 'signed', signatures: [first, ...others], signers }
  }
  if (isUnsigned) problems.push({ entry: SIGSTORE_SIGNATURE, message: 'the bundle is not signed' })
  problems.push(...signers.faults.map((message) => ({ entry: CHECKSUMS, message })))
  return { state: 'failed', isUnsigned, signers }
}

/** Who signed the bundle instead, if nothing else is wrong with the signatures; undefined otherwise. */
function whoseInstead(
  failed: readonly Extract<SignatureCheck, { ok: false }>[],
  { keys, identities = [] }: Signers,
): string | undefined {
  const [first] = failed
  if (!first || failed.some(({ stranger, instead }) => !stranger && !instead)) return undefined
  const stranger = failed.find((each) => each.stranger)?.stranger
  if (stranger?.kind === 'key') {
    return `is signed by another key than ${keys.length === 1 ? 'the one' : 'those'} given: ${stranger.name}`
  }
  if (stranger) {
    return `is signed by somebody else than ${identities.length === 1 ? 'the one' : 'those'} expected: ${stranger.name}`
  }
  return first.instead === 'certificate'
    ? 'is signed with a certificate, which the key given cannot check'
    : 'is signed with a key, but none is given to check it with'
}

function wayOut(
  failed: readonly Extract<SignatureCheck, { ok: false }>[],
  { keys, identities }: Signers,
): Hints {
  if (keys.length > 0 && failed.length > 0 && failed.every(({ stranger }) => stranger?.kind === 'key')) {
    return 'Nothing else in it was checked. If the other key belongs to whoever packs for you, get its public key, by another way than the bundle, and check with that. If nobody knows the key, do not use the bundle.'
  }
  if (failed.some(({ instead }) => instead === 'certificate')) {
    return [
      'Nothing else in it was checked. It is signed with a certificate, which a key cannot check: say whom the certificate has to name.',
      { id: 'certificate-identity' },
    ]
  }
  if (failed.some(({ instead }) => instead === 'key')) {
    return [
      "Nothing else in it was checked. It is signed with a key: check it with the signer's public key.",
      { id: 'key' },
    ]
  }
  const given = [
    ...(keys.length > 0 ? ['the key is the right one'] : []),
    ...(identities?.length ? ['identity, issuer and trusted root are the right ones'] : []),
  ]
  const [it, are] = identities?.length ? ['they', 'are'] : ['it', 'is']
  const newer = identities?.length
    ? ' Logs and authorities change: if the signature is newer than the trusted root, fetch the trusted root again on the connected side.'
    : ''
  return `Nothing else in it was checked. Check that ${given.join(', or ')} for this bundle; if ${it} ${are}, do not use the bundle.${newer}`
}

/**
 * Checks that the bundle's own signature by a key is there in both forms, with exactly the bytes that airgap writes. The
 * signature does not cover the key hint, white space or log entries around it, which could be altered otherwise.
 */
function checkForms(head: BundleHead, key: PublicKey, problems: Problem[]): void {
  const { raw } = head
  if (!raw) {
    const message = `it is missing: a signature by a key has both ${SIGSTORE_SIGNATURE} and ${RAW_SIGNATURE}`
    problems.push({ entry: RAW_SIGNATURE, message })
    return
  }
  const spelled = signatureOf(head.checksums, raw, key)
  if (spelled && head.sigstore?.equals(spelled.bundleJson)) return
  const message =
    'it holds the right signature, but not in the exact form that airgap writes: it has been altered'
  problems.push({ entry: SIGSTORE_SIGNATURE, message })
}

/** Checks that a signature by a certificate is there in its only form, with exactly the bytes that airgap writes. */
function checkCertificateForm({ sigstore, raw }: BundleHead, problems: Problem[]): void {
  if (raw) {
    const message = `it must not be there: a signature by a certificate has only ${SIGSTORE_SIGNATURE}`
    problems.push({ entry: RAW_SIGNATURE, message })
  }
  if (!sigstore || isSpelled(sigstore)) return
  const message =
    'it holds a signature by a certificate, but not in the exact form that airgap writes: it has been altered'
  problems.push({ entry: SIGSTORE_SIGNATURE, message })
}

function isSpelled(sigstore: Buffer): boolean {
  try {
    return spellCertificateBundle(sigstore).equals(sigstore)
  } catch {
    // airgap cannot have written this.
    return false
  }
}

/**
 * Checks what can be checked of the bundle's own signature without its key: that it claims to be over this list, and that
 * the two forms of a signature by a key are the same. Otherwise the file has been altered, whoever else has signed it.
 */
function checkAgreement(head: BundleHead, problems: Problem[]): void {
  if (!head.sigstore) return
  const found = readKeyBundle(head.sigstore)
  if (!found.ok) {
    if (found.fault === 'certificate') checkCertificateAgreement(head, head.sigstore, problems)
    else problems.push({ entry: SIGSTORE_SIGNATURE, message: found.reason })
    return
  }
  if (!head.raw?.equals(found.signature)) {
    problems.push({
      entry: RAW_SIGNATURE,
      message: `it is not the signature that ${SIGSTORE_SIGNATURE} holds`,
    })
  }
  if (!createHash(found.hash).update(head.checksums).digest().equals(found.digest)) {
    problems.push({ entry: SIGSTORE_SIGNATURE, message: `it is not over this ${CHECKSUMS}` })
  }
}

function checkCertificateAgreement(head: BundleHead, sigstore: Buffer, problems: Problem[]): void {
  const found = readCertificateBundle(sigstore)
  if (!found.ok) {
    problems.push({ entry: SIGSTORE_SIGNATURE, message: found.reason })
    return
  }
  checkCertificateForm(head, problems)
  if (found.content === 'message' && isOver(found, head.checksums)) return
  problems.push({ entry: SIGSTORE_SIGNATURE, message: `it is not over this ${CHECKSUMS}` })
}

/** Whose signatures the caller accepts. */
interface Signers {
  keys: readonly PublicKey[]
  /** The accepted identities of certificates; they need `root`. */
  identities?: readonly Identity[]
  root?: Root | undefined
}

type SignatureCheck =
  | { ok: true; signature: VerifiedSignature }
  /**
   * `reason` is a clause about the signature. `instead`: the caller gave nothing to check this kind of signature.
   * `stranger`: the signature is by somebody else, and nothing else is wrong with it.
   */
  | { ok: false; reason: string; instead?: 'key' | 'certificate'; stranger?: Stranger }

/** A signer that the caller does not accept. */
interface Stranger {
  kind: 'key' | 'identity'
  /** A key's fingerprint or another name of it; an identity with its issuer. */
  name: string
}

/**
 * Checks one signature: one by a certificate against the caller's identities, any other against the keys.
 *
 * @param name the entry or file that holds it.
 * @throws AirgapError `USAGE` if an identity's pattern takes too long; `INVALID_KEY` if a key is not accepted.
 */
function checkSignature(
  payload: Uint8Array,
  name: string,
  signature: GivenSignature,
  { keys, identities = [], root }: Signers,
): SignatureCheck {
  if (root && identities.length > 0) {
    const read = signature.bundleJson
      ? readCertificateBundle(signature.bundleJson)
      : {
          ok: false as const,
          isByKey: true,
          reason: 'it was made with a key, and one by a certificate is required',
        }
    if (read.ok) {
      if (read.content === 'dsse') {
        return {
          ok: false,
          reason: 'it holds an attestation (DSSE envelope), not a signature over these bytes',
        }
      }
      const verdict = verifyCertificateBundle(read, payload, root)
      if (!verdict.ok) return { ok: false, reason: verdict.reason }
      const reason = strangerReason(verdict.by, identities)
      if (reason !== undefined) {
        const name = `${revealed(verdict.by.identity)} (issuer ${revealed(verdict.by.issuer)})`
        return { ok: false, reason, stranger: { kind: 'identity', name } }
      }
      return { ok: true, signature: { name, form: 'sigstore-bundle', by: verdict.by } }
    }
    if (!read.isByKey) return { ok: false, reason: read.reason }
    if (keys.length === 0) return { ok: false, reason: read.reason, instead: 'key' }
  }
  const verdict = verifySignature({ payload, signature, keys: [...keys] })
  if (verdict.ok) {
    return { ok: true, signature: { name, form: verdict.form, by: { kind: 'key', key: verdict.key } } }
  }
  const { fault, reason, stranger } = verdict
  return {
    ok: false,
    reason,
    ...(fault === 'certificate' ? { instead: 'certificate' } : {}),
    ...(stranger === undefined ? {} : { stranger: { kind: 'key', name: stranger } }),
  }
}
