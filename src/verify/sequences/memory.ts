import type { BundleDescription } from '../../bundle/description.ts'
import { DESCRIPTION } from '../../bundle/names.ts'
import { AirgapError, type Problem } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import { compareBytes } from '../../oci/json.ts'
import { isBy, signedByText, signersWith, type SignedByName } from '../../trust/policy/count.ts'
import type { SignedBy } from '../../trust/verified.ts'
import { signerName } from '../signers.ts'
import type { Trust } from '../authenticate.ts'
import type { OpenedBundle, SequenceEvidence } from '../opened-bundle.ts'
import { keyOf, type SequenceFile, type SequenceRecord } from './file.ts'
import type { Hint } from '../../hints.ts'

export const NO_MEMORY: SequenceEvidence = { sequenceMemory: 'off' }

/** The bundle that is compared with the records. */
interface Subject {
  name: string
  sequence: number
  digest: Digest
  signers: readonly SignedBy[]
  trust: Trust
}

/**
 * What is remembered of earlier bundles of the same name by the same signers. Signers are the same if they have the same
 * key or identity, or if a policy or a pattern of identities treats them as the same person or system. So neither a new
 * key nor a certificate for another tag of the same pipeline bypasses the check.
 */
export class SequenceMemory {
  readonly file: SequenceFile
  readonly evidence: SequenceEvidence
  /** Set if the bundle is older than an accepted one, or if another bundle has its sequence. */
  readonly problem: Problem | undefined
  readonly #subject: Subject
  readonly #records: readonly SequenceRecord[]

  private constructor(file: SequenceFile, subject: Subject, records: readonly SequenceRecord[]) {
    this.file = file
    this.#subject = subject
    this.#records = records
    const last = lastOf(records, subject)
    this.evidence = last
      ? { sequenceMemory: 'found', previousSequence: last.sequence }
      : { sequenceMemory: 'none' }
    this.problem = conflict(records, subject)
  }

  /**
   * Looks up a bundle.
   * @returns undefined if it has no good signature or its description could not be read.
   * @throws AirgapError `FILE`, `OUTPUT_UNSAFE`
   */
  static async recall(
    file: SequenceFile,
    opened: OpenedBundle,
    { trust, mustExist }: { trust: Trust; mustExist: boolean },
  ): Promise<SequenceMemory | undefined> {
    const { authentication, description, bundleDigest } = opened
    if (authentication.state !== 'signed' || !description) return undefined
    const signers = authentication.signatures.map(({ by }) => by)
    const subject = { ...subjectOf(description), digest: bundleDigest, signers, trust }
    const records = await file.read()
    if (!records && mustExist) {
      throw new AirgapError('FILE', `cannot read ${file.path}: there is no such file`, {
        hint: 'A push remembers sequences in this file: airgap/sequences.json in the state folder of the user who pushes, or one that was named.',
      })
    }
    return new SequenceMemory(file, subject, records ?? [])
  }

  /** The signers, for people. */
  get signers(): string {
    const { signers, trust } = this.#subject
    return [...new Set(signers.map((by) => shownSigner(by, trust)))].join(' and ')
  }

  /**
   * The other names under which the same signers have pushed to a target, the latest first. If each release of a bundle
   * has a new name, the check for older bundles never applies.
   */
  otherNames(target: string): string[] {
    const { signers, trust } = this.#subject
    const records = this.#records
      .filter((record) => record.target === target && record.name !== this.#subject.name)
      .filter((record) => signers.some((signer) => isSame(signedBy(record), signer, trust)))
      .toSorted((a, b) => compareBytes(b.pushed, a.pushed))
    return [...new Set(records.map(({ name }) => name))]
  }

  /**
   * Remembers that this bundle was accepted, for each of its signers.
   * @param isRollback whether an older bundle may replace a newer one.
   * @throws AirgapError `VERIFICATION_FAILED` if another push recorded a newer bundle in the meantime; `FILE`,
   *   `OUTPUT_UNSAFE`, `DISK_FULL`
   */
  async record(target: string, isRollback: boolean, signal?: AbortSignal): Promise<void> {
    const { name, sequence, digest, signers } = this.#subject
    await this.file.update((records) => {
      const problem = conflict(records, this.#subject)
      if (problem && !isRollback) {
        throw new AirgapError('VERIFICATION_FAILED', 'another push was faster, so no tag was set', {
          problems: [problem],
          hint: 'Nothing is broken: the bundle that was pushed in the meantime is newer.',
        })
      }
      const now = { sequence, digest, pushed: new Date().toISOString(), target }
      // Update the records of all signers that count as the same, so that an older bundle by an old key stays older.
      const all = new Map(
        records.map((record) => [
          keyOf(record),
          concerns(record, this.#subject) ? { ...record, ...now } : record,
        ]),
      )
      for (const by of signers) {
        const record = { name, signer: signerName(by), ...now }
        all.set(keyOf(record), record)
      }
      return [...all.values()]
    }, signal)
  }
}

function subjectOf({ name, sequence }: BundleDescription): { name: string; sequence: number } {
  return { name, sequence }
}

function lastOf(records: readonly SequenceRecord[], subject: Subject): SequenceRecord | undefined {
  return records
    .filter((record) => concerns(record, subject))
    .reduce<SequenceRecord | undefined>(
      (last, one) => (last && last.sequence >= one.sequence ? last : one),
      undefined,
    )
}

function conflict(records: readonly SequenceRecord[], subject: Subject): Problem | undefined {
  const last = lastOf(records, subject)
  const { sequence, digest } = subject
  if (!last || sequence > last.sequence) return undefined
  const when = `pushed ${last.pushed} to ${last.target}, signed by ${shownSigner(signedBy(last), subject.trust)}`
  if (sequence < last.sequence) {
    return expectation(
      `its sequence is ${sequence}, but the last accepted one of this name and signer is ${last.sequence} (${when}): it is an older bundle`,
      { id: 'allow-rollback' },
    )
  }
  const other = records.find(
    (record) => concerns(record, subject) && record.sequence === sequence && record.digest !== digest,
  )
  if (!other) return undefined
  return expectation(
    `its sequence is ${sequence}, but another bundle of this name and signer, ${other.digest}, has the same (${when}): two bundles claim one sequence. Pack it again with a higher one`,
    { id: 'allow-rollback' },
  )
}

/** A signer's name in the policy; without one, the key or the identity. */
function shownSigner(by: SignedByName, { policy }: Trust): string {
  const [signer] = policy ? signersWith(policy, by) : []
  if (signer) return signer.name
  return by.kind === 'key' ? `the key ${by.key.fingerprint.slice(0, 16)}…` : signedByText(by)
}

function expectation(message: string, hint: Hint): Problem {
  return { entry: DESCRIPTION, message, kind: 'expectation', hints: [hint] }
}

/** Whether a record is about bundles of this name by one of these signers. */
function concerns(record: SequenceRecord, { name, signers, trust }: Subject): boolean {
  if (record.name !== name) return false
  const by = signedBy(record)
  return signers.some((signer) => isSame(by, signer, trust))
}

function isSame(remembered: SignedByName, signer: SignedBy, { policy, identities = [] }: Trust): boolean {
  if (isNamedAlike(remembered, signer)) return true
  if (policy) {
    return signersWith(policy, signer).some(({ credentials }) =>
      credentials.some((each) => isBy(each, remembered)),
    )
  }
  if (remembered.kind === 'key' || signer.kind === 'key') return false
  return identities.some(({ identity, issuer }) =>
    [remembered, signer].every((each) => identity.matches(each.identity) && issuer.matches(each.issuer)),
  )
}

function isNamedAlike(a: SignedByName, b: SignedByName): boolean {
  if (a.kind === 'key') return b.kind === 'key' && a.key.fingerprint === b.key.fingerprint
  return b.kind === 'identity' && a.identity === b.identity && a.issuer === b.issuer
}

function signedBy({ signer }: SequenceRecord): SignedByName {
  return 'keyFingerprint' in signer
    ? { kind: 'key', key: { fingerprint: signer.keyFingerprint } }
    : { kind: 'identity', identity: signer.identity, issuer: signer.issuer }
}
