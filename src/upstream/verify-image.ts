import type { ImageEntry } from '../bundle/description.ts'
import type { ReferrerEntry } from '../bundle/referrers.ts'
import { sortLogEntries, type UpstreamRecord, type UpstreamSignature } from '../bundle/upstream.ts'
import { AirgapError, type ErrorCode } from '../errors.ts'
import { type Digest, shortHex } from '../oci/digest.ts'
import type { Descriptor, ManifestOrIndex } from '../oci/manifest.ts'
import { parseReference } from '../oci/reference.ts'
import type { Root } from '../trust/identity/trusted-root.ts'
import { MAX_LAYER, type SignatureLayer, signaturesIn } from '../trust/upstream/holder.ts'
import {
  type AcceptedSigners,
  type NameCheck,
  ruleFor,
  type UpstreamPolicy,
  type UpstreamRule,
} from '../trust/upstream/rule.ts'
import { verifyImageSignature } from '../trust/upstream/signature.ts'
import type { SignedBy } from '../trust/verified.ts'
import { reasonOf } from '../bundle/skipped.ts'
import { noRule, notVerified, reasonText } from './verdict.ts'
import { formatMoment } from '../bytes.ts'

/** Where referrers of an image are read from: a registry or a bundle. */
export interface SignatureSource {
  /** Referrers that may contain signatures, in the order to try. */
  referrers: readonly ReferrerEntry[]
  /** Reads a manifest; its digest is verified. */
  document(entry: ReferrerEntry): Promise<ManifestOrIndex>
  /** Reads a blob of limited size; its digest is verified. */
  blob(descriptor: Descriptor, maxBytes: number): Promise<Uint8Array>
}

/** Who must have signed an image, and what else is demanded. */
export interface ImageDemand {
  by: AcceptedSigners
  dockerReference: NameCheck
  root: Root | undefined
}

/** A verified signature, and what it signs. */
export interface FoundSignature {
  subject: Digest
  signature: UpstreamSignature
  entry: ReferrerEntry
}

/** Maximum number of signatures that are tried for one image. */
const MAX_TRIED = 1000

/** Faults of a single signature, after which the others are still tried. */
const OF_ONE_SIGNATURE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'NOT_FOUND',
  'CONTENT_MISMATCH',
  'INVALID_CONTENT',
  'UNSUPPORTED_CONTENT',
])

/**
 * Looks for a signature of an image that meets the demand: first one of the manifest or index at the source; if there
 * is none, one of the delivered manifest, unless that is an index that was made here.
 *
 * @param isWanted for callers that look for a certain signature.
 * @returns the first good one; or what is wrong with each signature, as clauses, in order.
 * @throws AirgapError from reading, if it is not about a single signature.
 */
export async function verifyImage(
  image: ImageEntry,
  demand: ImageDemand,
  source: SignatureSource,
  isWanted: (found: FoundSignature) => boolean = () => true,
): Promise<{ ok: true; found: FoundSignature } | { ok: false; reasons: string[] }> {
  const reasons: string[] = []
  let tried = 0
  for (const subject of subjectsOf(image)) {
    for (const entry of source.referrers.filter((one) => one.subject === subject)) {
      const refuse = (reason: string): void => {
        reasons.push(`${entry.tag ?? shortHex(entry.digest)}: ${reason}`)
      }
      const held = await attempt(async () =>
        signaturesIn(await source.document(entry), subject, entry.tag !== undefined),
      )
      if (!held.ok) refuse(held.reason)
      for (const layer of held.ok ? held.layers : []) {
        tried += 1
        if (tried > MAX_TRIED) return { ok: false, reasons: [`it has more than ${MAX_TRIED} signatures`] }
        const verdict = await attempt(async () => verifyLayer(layer, image, subject, demand, source))
        if (!verdict.ok) {
          refuse(verdict.reason)
          continue
        }
        const signature = signatureOf(entry.digest, layer, verdict.by)
        const found = { subject, signature, entry }
        if (isWanted(found)) return { ok: true, found }
        refuse('it is good, but it is not the one that was recorded')
      }
    }
  }
  return { ok: false, reasons }
}

/** What a signature of an image may sign: first the source's digest, then the delivered one. */
export function subjectsOf({ sourceDigest, digest, platforms }: ImageEntry): Digest[] {
  const isChild = digest !== sourceDigest && platforms.some((one) => one.digest === digest)
  return isChild ? [sourceDigest, digest] : [sourceDigest]
}

async function verifyLayer(
  { form, descriptor }: SignatureLayer,
  image: ImageEntry,
  subject: Digest,
  demand: ImageDemand,
  source: SignatureSource,
): Promise<ReturnType<typeof verifyImageSignature>> {
  const most = MAX_LAYER[form]
  if (descriptor.size > most) return { ok: false, reason: `it has more than ${most} bytes` }
  const bytes = await source.blob(descriptor, most)
  return verifyImageSignature(
    { form, bytes, annotations: descriptor.annotations },
    { ...demand, subject, image: parseReference(image.source) },
  )
}

async function attempt<T extends { ok: boolean }>(
  work: () => Promise<T>,
): Promise<T | { ok: false; reason: string }> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof AirgapError) || !OF_ONE_SIGNATURE.has(error.code)) throw error
    return { ok: false, reason: error.message }
  }
}

/** A verified signature, in the form for records. */
function signatureOf(manifest: Digest, { form }: SignatureLayer, by: SignedBy): UpstreamSignature {
  if (by.kind === 'key') return { manifest, form, keyFingerprint: by.key.fingerprint }
  const [time] = by.times.toSorted((a, b) => a - b)
  return {
    manifest,
    form,
    identity: by.identity,
    issuer: by.issuer,
    ...(time === undefined ? {} : { signedAt: formatMoment(time) }),
    logEntries: sortLogEntries(by.logEntries.map(({ logId, logIndex }) => ({ logId, logIndex }))),
    trustedRoot: by.root.digest,
  }
}

/** The result of a policy for an image. */
interface Applied {
  record: UpstreamRecord
  /** The referrer with the signature, if there is one. */
  entry?: ReferrerEntry
}

/**
 * Applies a policy to one image: the first rule that matches it.
 * @param verify called only if the rule demands a signature.
 * @throws AirgapError `UPSTREAM_NOT_VERIFIED`, and errors from reading: an unreachable source does not mean that there
 *   is no signature.
 */
export async function applyPolicy(
  image: ImageEntry,
  { policy, root }: { policy: UpstreamPolicy; root: Root | undefined },
  verify: (demand: ImageDemand) => ReturnType<typeof verifyImage>,
): Promise<Applied> {
  const rule = ruleFor(policy, parseReference(image.source))
  if (!rule) throw noRule(image)
  const { demand } = rule
  const named = { rule: nameOfRule(rule) }
  if (demand.kind === 'skip') {
    return { record: { state: 'skipped', ...named, reason: reasonOf(demand.reason) } }
  }
  const { by, dockerReference } = demand
  const verdict = await verify({ by, dockerReference, root })
  if (verdict.ok) {
    const { subject, signature, entry } = verdict.found
    return { record: { state: 'verified', ...named, subject, signature }, entry }
  }
  if (demand.onFailure === 'fail') throw notVerified(image, rule, verdict.reasons)
  return { record: { state: 'warned', ...named, reason: reasonOf(reasonText(image, verdict.reasons)) } }
}

function nameOfRule({ pattern, preset }: UpstreamRule): UpstreamRecord['rule'] {
  return { pattern, ...(preset === undefined ? {} : { preset }) }
}
