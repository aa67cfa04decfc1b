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
 * What the caller trusts and expects. Nothing in a bundle adds to it. A signature by any one of the keys and identities
 * suffices; there are none at all only together with `unauthenticated`.
 */
export interface Trust extends Signers {
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
  /**
   * `isUnsigned`: no signature was there to be checked. `says`: what is to be said of the bundle, and `hint`: the way out,
   * where the signatures are at fault.
   */
  | { state: 'failed'; isUnsigned?: boolean; says?: string; hint?: Hints; signers?: SignersVerdict }

/**
 * Step 1: checks the bytes of `SHA256SUMS` against the caller's keys and the digest that the caller expects,
 * before they are parsed.
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
      message: `the bundle digest is ${bundleDigest}, not ${trust.expectDigest} as expected: this is another bundle than the one approved`,
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
      // It may be a stranger's, and still has to be what a stranger could have written.
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
      message: `the bundle is not signed, and a signature by ${wanted.join(' or ')} is required`,
    })
  }
  problems.push(...reasons)
  const says = whoseInstead(failed, trust)
  const isUnsigned = offered.length === 0
  return { state: 'failed', isUnsigned, hint: wayOut(failed, trust), ...(says === undefined ? {} : { says }) }
}

/** A list that too few people have signed is not parsed. */
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

/** Whose the bundle is, where nothing is known to be wrong with it but that. */
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
    : 'is signed with a key, and none is given to check it with'
}

function wayOut(
  failed: readonly Extract<SignatureCheck, { ok: false }>[],
  { keys, identities }: Signers,
): Hints {
  if (keys.length > 0 && failed.length > 0 && failed.every(({ stranger }) => stranger?.kind === 'key')) {
    return 'Nothing in it was looked at further. If the other key is that of whoever packs for you, check with its public key, which has to come by another way than the bundle. If nobody knows it, do not use the bundle.'
  }
  if (failed.some(({ instead }) => instead === 'certificate')) {
    return [
      'Nothing in it was looked at further. It is signed with a certificate, which a key cannot check: say whom the certificate has to name.',
      { id: 'certificate-identity' },
    ]
  }
  if (failed.some(({ instead }) => instead === 'key')) {
    return [
      'Nothing in it was looked at further. It is signed with a key: check it with the public key of the one who signs.',
      { id: 'key' },
    ]
  }
  const given = [
    ...(keys.length > 0 ? ['the key is the right one'] : []),
    ...(identities?.length ? ['identity, issuer and trusted root are the right ones'] : []),
  ]
  const [it, are] = identities?.length ? ['they', 'are'] : ['it', 'is']
  const newer = identities?.length
    ? ' Logs and authorities change: where the signature is younger than the trusted root, fetch that anew on the connected side.'
    : ''
  return `Nothing in it was looked at further. Check that ${given.join(', or ')} for this bundle; if ${it} ${are}, do not use the bundle.${newer}`
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
  const spelled = signatureOf(head.checksums, raw, key)
  if (spelled && head.sigstore?.equals(spelled.bundleJson)) return
  const message = 'it holds the right signature, but is not spelled as airgap writes it: it has been altered'
  problems.push({ entry: SIGSTORE_SIGNATURE, message })
}

/** One by a certificate has the one form, and the one spelling that its writer gives it. */
function checkCertificateForm({ sigstore, raw }: BundleHead, problems: Problem[]): void {
  if (raw) {
    const message = `it is there, and a signature by a certificate has ${SIGSTORE_SIGNATURE} alone`
    problems.push({ entry: RAW_SIGNATURE, message })
  }
  if (!sigstore || isSpelled(sigstore)) return
  const message =
    'it holds a signature by a certificate, but is not spelled as airgap writes it: it has been altered'
  problems.push({ entry: SIGSTORE_SIGNATURE, message })
}

function isSpelled(sigstore: Buffer): boolean {
  try {
    return spellCertificateBundle(sigstore).equals(sigstore)
  } catch {
    // What cannot be spelled is not spelled as it should be.
    return false
  }
}

/**
 * Without its key nobody can say whether a bundle's own signature is good; but it says that it is over this list, and the
 * two entries of one by a key hold the same. Where they do not, the file has been altered, whoever has signed beside it.
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
  /** Whom a certificate may name; needs `root`. */
  identities?: readonly Identity[]
  root?: Root | undefined
}

type SignatureCheck =
  | { ok: true; signature: VerifiedSignature }
  /**
   * `reason` is a clause about the signature. `instead`: it is of a kind that nothing was given for. `stranger`: there is
   * nothing wrong with it but whose it is.
   */
  | { ok: false; reason: string; instead?: 'key' | 'certificate'; stranger?: Stranger }

/** Somebody who has signed and was not expected to. */
interface Stranger {
  kind: 'key' | 'identity'
  /** A key's fingerprint, or what else it is called; an identity with its issuer. */
  name: string
}

/**
 * Measures one signature against all that the caller trusts: one by a certificate against the identities, every other
 * against the keys. Neither is ever taken for the other.
 *
 * @param name the entry or file that holds it.
 * @throws AirgapError `USAGE` for an identity's pattern that takes too long; `INVALID_KEY` for a key that is not accepted.
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
