import type { BundleDescription } from '../../bundle/description.ts'
import { DESCRIPTION } from '../../bundle/names.ts'
import { AirgapError, type Problem } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import { compareBytes } from '../../oci/json.ts'
import { isBy, nameOf, signersOf, type SignedByName } from '../../trust/policy/count.ts'
import type { SignedBy } from '../../trust/verified.ts'
import { signerName } from '../signers.ts'
import type { Trust } from '../authenticate.ts'
import type { OpenedBundle, SequenceEvidence } from '../opened-bundle.ts'
import { keyOf, type SequenceFile, type SequenceRecord } from './file.ts'
import type { Hint } from '../../hints.ts'

export const NO_MEMORY: SequenceEvidence = { sequenceMemory: 'off' }

/** Whoever signs a bundle of this name, and what of it is compared. */
interface Subject {
  name: string
  sequence: number
  digest: Digest
  signers: readonly SignedBy[]
  trust: Trust
}

/**
 * What is remembered of earlier bundles of the same name by the same signers. A signer is the same by its key or its
 * identity; by a policy, or a pattern of identities, whoever counts as the same person or system: a new key, or a
 * certificate for another tag of the same pipeline, is no way around it.
 */
export class SequenceMemory {
  readonly file: SequenceFile
  readonly evidence: SequenceEvidence
  /** The bundle is older than one that was accepted, or another with its sequence. */
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
   * @returns undefined where nobody has signed it, or too little of it could be read to say.
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
        hint: 'It is the file in which push remembers sequences: airgap/sequences.json in the state folder of whoever pushes, or one that was named.',
      })
    }
    return new SequenceMemory(file, subject, records ?? [])
  }

  /** Who has signed, for people. */
  get signers(): string {
    const { signers, trust } = this.#subject
    return [...new Set(signers.map((by) => shownSigner(by, trust)))].join(' and ')
  }

  /**
   * What the same signers have last pushed to a target under other names, the latest first: a bundle that was given a
   * new name with each release is never older than another.
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
   * @param isRollback an older one may take the place of a newer.
   * @throws AirgapError `VERIFICATION_FAILED` where another push has got further in the meantime; `FILE`,
   *   `OUTPUT_UNSAFE`, `DISK_FULL`
   */
  async record(target: string, isRollback: boolean, signal?: AbortSignal): Promise<void> {
    const { name, sequence, digest, signers } = this.#subject
    await this.file.update((records) => {
      const problem = conflict(records, this.#subject)
      if (problem && !isRollback) {
        throw new AirgapError('VERIFICATION_FAILED', 'another push has been faster, and no tag was set', {
          problems: [problem],
          hint: 'Nothing is broken: the bundle that was pushed meanwhile is the newer one.',
        })
      }
      const now = { sequence, digest, pushed: new Date().toISOString(), target }
      // Whoever counts as the same is brought along, so that an older bundle by an older key stays one.
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
      `its sequence is ${sequence}, and the last one of this name and signer that was accepted is ${last.sequence} (${when}): it is an older bundle`,
      { id: 'allow-rollback' },
    )
  }
  const other = records.find(
    (record) => concerns(record, subject) && record.sequence === sequence && record.digest !== digest,
  )
  if (!other) return undefined
  return expectation(
    `its sequence is ${sequence}, and so is that of another bundle of this name and signer, ${other.digest} (${when}): two bundles claim one sequence. Pack it again with a higher one`,
    { id: 'allow-rollback' },
  )
}

/** By the policy's name for whoever that is; else by the key or the identity. */
function shownSigner(by: SignedByName, { policy }: Trust): string {
  const [signer] = policy ? signersOf(policy, by) : []
  if (signer) return signer.name
  return by.kind === 'key' ? `the key ${by.key.fingerprint.slice(0, 16)}…` : nameOf(by)
}

function expectation(message: string, hint: Hint): Problem {
  return { entry: DESCRIPTION, message, kind: 'expectation', hints: [hint] }
}

/** Whether a record is about bundles of this name by any of these signers. */
function concerns(record: SequenceRecord, { name, signers, trust }: Subject): boolean {
  if (record.name !== name) return false
  const by = signedBy(record)
  return signers.some((signer) => isSame(by, signer, trust))
}

function isSame(remembered: SignedByName, signer: SignedBy, { policy, identities = [] }: Trust): boolean {
  if (isNamedAlike(remembered, signer)) return true
  if (policy) {
    return signersOf(policy, signer).some(({ credentials }) =>
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
