import { createHash } from 'node:crypto'
import type { BundleHead } from '../../bundle/reader.ts'
import { CHECKSUMS, RAW_SIGNATURE, SIGSTORE_SIGNATURE } from '../../bundle/names.ts'
import type { Problem } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { DetachedSignature } from '../../trust/detached.ts'
import { readKeyBundle } from '../../trust/key-bundle.ts'
import type { PublicKey } from '../../trust/keys.ts'
import { signatureOf } from '../../trust/signature.ts'
import { verifySignature } from '../../trust/verify.ts'

/** What the caller trusts and expects. Nothing in a bundle adds to it. */
export interface TrustOptions {
  /** Any one of them suffices. Empty only together with `unauthenticated`. */
  keys: readonly PublicKey[]
  /** Check integrity alone: whoever made the file could have written anything into it. */
  unauthenticated: boolean
  /** Signatures from beside the bundle, tried after its own. */
  signatures?: readonly { file: string; signature: DetachedSignature }[]
  /** The bundle digest that was approved. */
  expectDigest?: Digest | undefined
  expectName?: string | undefined
  minSequence?: number | undefined
  /** Milliseconds since 1970, for `expires`. */
  now: number
}

/** Who answers for the list of digests. */
export type Authentication =
  | { state: 'signed'; key: PublicKey; signature: string }
  /** Nothing was authenticated; `hasSignature` says whether the bundle carries a signature. */
  | { state: 'not-checked'; hasSignature: boolean }
  /** `isUnsigned`: no signature was there to be checked. */
  | { state: 'failed'; isUnsigned?: boolean }

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
  const offered = [
    ...(head.sigstore
      ? [
          {
            name: SIGSTORE_SIGNATURE,
            signature: { bundleJson: head.sigstore, ...(head.raw ? { der: head.raw } : {}) },
          },
        ]
      : []),
    ...(trust.signatures ?? []).map(({ file, signature }) => ({ name: file, signature })),
  ]
  for (const { name, signature } of offered) {
    const verdict = verifySignature({ payload: head.checksums, signature, keys: [...trust.keys] })
    if (verdict.ok) {
      if (name === SIGSTORE_SIGNATURE) checkForms(head, verdict.key, problems)
      return { state: 'signed', key: verdict.key, signature: name }
    }
    reasons.push({ entry: name, message: verdict.reason })
  }
  if (reasons.length === 0) {
    reasons.push({
      entry: SIGSTORE_SIGNATURE,
      message: 'the bundle is not signed, and a signature by your key is required',
    })
  }
  problems.push(...reasons)
  return { state: 'failed', isUnsigned: offered.length === 0 }
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
  if (!createHash(found.hash).update(head.checksums).digest().equals(found.digest)) {
    problems.push({ entry: SIGSTORE_SIGNATURE, message: `it is not over this ${CHECKSUMS}` })
  }
}
