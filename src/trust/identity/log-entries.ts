import type { Bundle } from '@sigstore/bundle'
import { AirgapError } from '../../errors.ts'
import { parseStrictJson } from '../../oci/json.ts'
import { decodeBase64, pemBlocks } from '../pem.ts'
import type { LogEntry } from '../verified.ts'
import type { Root } from './trusted-root.ts'
import { formatMoment } from '../../bytes.ts'

export type TlogEntry = Bundle['verificationMaterial']['tlogEntries'][number]

/** A checkpoint with the signatures of a dozen witnesses has about 2 KiB. */
const MAX_CHECKPOINT = 64 * 1024

/**
 * Checks what the library does not check in log entries, and what is later shown as evidence: numbers in canonical
 * form, agreement of the proof and its checkpoint, and the signer's certificate in the entry. Without the last check,
 * the log could have recorded the signature under somebody else's name.
 *
 * @param certificate DER.
 * @throws AirgapError `INVALID_CONTENT`, its message a clause.
 */
export function checkLogEntry(entry: TlogEntry, certificate: Uint8Array): void {
  const { inclusionProof: proof } = entry
  for (const number of [entry.logIndex, entry.integratedTime, proof?.logIndex, proof?.treeSize]) {
    if (number === undefined) continue
    // The library converts them with Number(), which accepts other forms.
    if (!/^(?:0|[1-9]\d{0,15})$/.test(number) || !Number.isSafeInteger(Number(number))) {
      throw refused('a number in its log entry is not in canonical form')
    }
  }
  if (proof?.checkpoint) checkProof(proof.checkpoint.envelope, proof)
  const noted = notedCertificate(entry)
  if (!noted?.equals(certificate)) throw refused('its log entry does not name its certificate')
}

/** The lines of a checkpoint are: origin, size, hash (transparency-dev/formats, log/README.md). */
function checkProof(
  envelope: string,
  { treeSize, rootHash }: NonNullable<TlogEntry['inclusionProof']>,
): void {
  if (envelope.length > MAX_CHECKPOINT) throw refused('the checkpoint of its log entry is larger than 64 KiB')
  const [, size, hash] = envelope.split('\n', 3)
  if (size === treeSize && hash === rootHash.toString('base64')) return
  throw refused('the proof of its log entry and the checkpoint do not agree')
}

/**
 * Drops a proof without a checkpoint, which proves nothing and makes the library fail. Bundles from before 2023 have
 * such proofs in addition to the log's promise, which is checked.
 */
export function withoutIdleProof(entry: TlogEntry): TlogEntry {
  return entry.inclusionProof?.checkpoint ? entry : { ...entry, inclusionProof: undefined }
}

/**
 * The logs of the root that were in use when these entries were made. The library checks this for a log that promises a
 * time, but not for one that only proves inclusion (Rekor 2), nor for the signer of a checkpoint. An entry without a
 * time was made at about the time of the signature, so its log must have been in use at every verified time.
 *
 * @param times all times from the signature's timestamps and promises, in milliseconds since 1970.
 * @throws AirgapError `INVALID_CONTENT`, its message a clause.
 */
export function logsInUse(
  entries: readonly TlogEntry[],
  times: readonly number[],
  { material }: Root,
): Root['material']['tlogs'] {
  const logs = new Set<Root['material']['tlogs'][number]>()
  for (const { logId, inclusionPromise, integratedTime } of entries) {
    const known = material.tlogs.filter(({ logID }) => logID.equals(logId.keyId))
    const when = inclusionPromise ? [Number(integratedTime) * 1000] : times
    const inUse = known.filter(({ validFor: { start, end } }) =>
      when.every((time) => start.getTime() <= time && time <= end.getTime()),
    )
    if (inUse.length === 0) throw refused(outOfUse(known, when))
    for (const log of inUse) logs.add(log)
  }
  return [...logs]
}

function outOfUse(known: Root['material']['tlogs'], times: readonly number[]): string {
  const ranges = known.map(({ validFor: { start, end } }) => {
    const until = end.getTime() < END_OF_TIME ? ` to ${formatMoment(end.getTime())}` : ' on'
    return `from ${formatMoment(start.getTime())}${until}`
  })
  const when = times.map(formatMoment).join(' and ')
  return `the log that it names was not in use when it was signed (${when}): the trusted root has it ${ranges.join(' and ')}`
}

/** The library's value for a missing end. */
const END_OF_TIME = 8_640_000_000_000_000

/** Where the body of each kind of entry contains the signer's certificate (sigstore/rekor, pkg/types). */
const PLACES: Record<string, readonly (string | number)[]> = {
  'hashedrekord 0.0.1': ['spec', 'signature', 'publicKey', 'content'],
  'dsse 0.0.1': ['spec', 'signatures', 0, 'verifier'],
  'intoto 0.0.2': ['spec', 'content', 'envelope', 'signatures', 0, 'publicKey'],
  'hashedrekord 0.0.2': ['spec', 'hashedRekordV002', 'signature', 'verifier', 'x509Certificate', 'rawBytes'],
  'dsse 0.0.2': ['spec', 'dsseV002', 'signatures', 0, 'verifier', 'x509Certificate', 'rawBytes'],
}

function notedCertificate({ kindVersion, canonicalizedBody }: TlogEntry): Buffer | undefined {
  const kind = `${kindVersion.kind} ${kindVersion.version}`
  const place = Object.hasOwn(PLACES, kind) ? PLACES[kind] : undefined
  if (!place) throw refused(`its log entry is of an unknown kind (${kind.slice(0, 60)})`)
  let value: unknown = parseStrictJson(canonicalizedBody, 'log entry')
  for (const key of place) {
    const isThere = typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    value = isThere ? (value as Record<string | number, unknown>)[key] : undefined
  }
  const bytes = typeof value === 'string' ? decodeBase64(value) : undefined
  if (!bytes || place.at(-1) === 'rawBytes') return bytes
  return pemBlocks(bytes).find(({ label }) => label === 'CERTIFICATE')?.der
}

/** A verified entry, as evidence. */
export function describeLogEntry({
  logId,
  logIndex,
  integratedTime,
  inclusionPromise,
  inclusionProof,
}: TlogEntry): LogEntry {
  return {
    logId: logId.keyId.toString('hex'),
    // The entry's own index is signed only by the promise; the proof has its own index.
    logIndex: inclusionPromise ? logIndex : (inclusionProof?.logIndex ?? logIndex),
    ...(inclusionPromise ? { integratedTime: Number(integratedTime) } : {}),
  }
}

function refused(reason: string): AirgapError {
  return new AirgapError('INVALID_CONTENT', reason)
}
