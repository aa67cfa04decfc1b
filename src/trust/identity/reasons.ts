import { VerificationError, type SignedEntity } from '@sigstore/verify'
import { rootInWords, type Root } from './trusted-root.ts'
import type { Certificate } from './leaf.ts'

/**
 * Checks, before verification, whether a signature lacks a log entry or a time, or names an unknown log.
 * @returns a clause about the signature; undefined if nothing is missing.
 */
export function missingWitness({ tlogEntries, timestamps }: SignedEntity, root: Root): string | undefined {
  if (tlogEntries.length === 0) return 'it has no entry in a transparency log, but one is required'
  const { tlogs } = root.material
  const stranger = tlogEntries.find(({ logId }) => !tlogs.some(({ logID }) => logID.equals(logId.keyId)))
  if (stranger) {
    const log = stranger.logId.keyId.toString('hex').slice(0, 64)
    return `the log that it names (${log}) is not in the trusted root (${rootInWords(root)})`
  }
  const hasTime = timestamps.some(
    (each) => each.$case === 'timestamp-authority' || each.tlogEntry.inclusionPromise !== undefined,
  )
  if (!hasTime) {
    return 'nothing proves when it was made: it has neither the promise of a log nor the timestamp of an authority'
  }
  return undefined
}

/** Why the library refused a signature, as a clause in plain words. */
export function explainFailure(error: unknown, entity: SignedEntity | undefined, root: Root): string {
  // For missing or damaged parts, the libraries also throw TypeErrors and parser errors.
  if (!(error instanceof VerificationError) || !entity) return 'a part of it is missing or damaged'
  switch (error.code) {
    case 'TIMESTAMP_ERROR':
      return error.message === 'duplicate timestamp'
        ? 'it has the same timestamp twice'
        : `a timestamp in it is not for this signature, or not by an authority in the trusted root (${rootInWords(root)})`
    case 'CERTIFICATE_ERROR':
      return explainCertificate(error.message, entity, root)
    case 'TLOG_INCLUSION_PROMISE_ERROR':
      return 'the promise in its log entry was not made by that log, or not for this entry'
    case 'TLOG_INCLUSION_PROOF_ERROR':
    case 'TLOG_MISSING_INCLUSION_ERROR':
      return 'the proof in its log entry does not show that the log has this entry'
    case 'TLOG_BODY_ERROR':
      return 'its log entry is for another signature or another artifact'
    case 'TLOG_ERROR':
      return 'it has the same log entry twice'
    case 'SIGNATURE_ERROR':
      return 'it does not match these bytes, or was not made with the key in its certificate: it is forged or damaged'
    default:
      return 'it does not verify with the trusted root'
  }
}

function explainCertificate(message: string, { key, timestamps }: SignedEntity, root: Root): string {
  if (message.startsWith('expected')) {
    return 'its certificate has no timestamp of a certificate log (SCT), but one is required'
  }
  if (message.includes('SCT')) {
    return `the timestamp in its certificate (SCT) is not by a certificate log in the trusted root (${rootInWords(root)})`
  }
  return (
    outsideValidity({ key, timestamps }) ??
    `its certificate was not issued by an authority that the trusted root has for that time (${rootInWords(root)})`
  )
}

/** A clause if the certificate was not valid at one of the signature's times; undefined if it was. */
export function outsideValidity({
  key,
  timestamps,
}: Pick<SignedEntity, 'key' | 'timestamps'>): string | undefined {
  if (key.$case !== 'certificate') return undefined
  const time = timestamps.map(timeOf).find((each) => each && !key.certificate.validForDate(each))
  return time && isNotValidAt(time, key.certificate)
}

function timeOf(timestamp: SignedEntity['timestamps'][number]): Date | undefined {
  if (timestamp.$case === 'timestamp-authority') return timestamp.timestamp.signingTime
  const { inclusionPromise, integratedTime } = timestamp.tlogEntry
  return inclusionPromise && new Date(Number(integratedTime) * 1000)
}

function isNotValidAt(time: Date, { notBefore, notAfter }: Certificate): string {
  const fault =
    time > notAfter ? 'had expired at the time of signing' : 'was not yet valid at the time of signing'
  return `the certificate ${fault}: it was valid from ${instant(notBefore)} to ${instant(notAfter)}, and the signature was made at ${instant(time)}`
}

function instant(date: Date): string {
  return date.toISOString().replace('.000Z', 'Z')
}
