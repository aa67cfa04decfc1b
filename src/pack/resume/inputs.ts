import type { BundleDescription } from '../../bundle/description.ts'
import type { ReferrerChoice } from '../../oci/manifest.ts'
import { TOOL } from '../../own-files.ts'
import { AirgapError, type Problem } from '../../errors.ts'
import { digestOf } from '../../oci/digest.ts'
import { compareBytes } from '../../oci/json.ts'
import { formatPlatform, type Platform } from '../../oci/platform.ts'
import { formatReference, type Reference } from '../../oci/reference.ts'
import { type Lock, serializeLock } from '../lock.ts'
import { JOURNAL_TYPE, JOURNAL_VERSION, type JournalHeader, type PackInputs } from './format.ts'
import type { FileIdentity } from '../../files/own-file.ts'
import type { SigningKey } from '../../trust/keys.ts'
import type { PackPlan } from '../plan.ts'
import { formatMoment } from '../../bytes.ts'

export interface InputsOf {
  /** What to resolve, or the lock. */
  request:
    | {
        images: readonly { reference: Reference }[]
        platforms: 'all' | Platform[]
        rewriteDigests: boolean
        allowMissingPlatform: boolean
        allowMissingAttestations: boolean
        resolveFrom: 'source' | 'mirror'
        referrers: ReferrerChoice
        /** As they were given. */
        mirrors: readonly string[]
      }
    | { lock: Lock }
  description: Omit<BundleDescription, 'images' | 'platforms'>
  /** Undefined if not given, like the next two. */
  name: string | undefined
  sequence: number | undefined
  created: number | undefined
  /** Fingerprint of the key, or how else it is signed. */
  key: string
}

/** What a pack is made from, in a form that can be compared and shown. */
export function inputsOf({ request, description, name, sequence, created, key }: InputsOf): PackInputs {
  const { version, expires } = description
  const about = {
    ...(name === undefined ? {} : { name }),
    ...(version === undefined ? {} : { version }),
    ...(expires === undefined ? {} : { expires }),
    ...(sequence === undefined ? {} : { sequence }),
    ...(created === undefined ? {} : { created: formatMoment(created) }),
    key,
  }
  if ('lock' in request) {
    const { lock } = request
    return {
      images: sorted(lock.images.map(({ source }) => source)),
      lock: digestOf(serializeLock(lock)),
      platforms: lock.platforms,
      rewriteDigests: false,
      allowMissingPlatform: false,
      allowMissingAttestations: false,
      resolveFrom: 'source',
      ...about,
    }
  }
  const { images, platforms, resolveFrom, referrers, mirrors } = request
  const { rewriteDigests, allowMissingPlatform, allowMissingAttestations } = request
  return {
    images: sorted(images.map(({ reference }) => formatReference(reference))),
    platforms: platforms === 'all' ? 'all' : platforms.map(formatPlatform),
    rewriteDigests,
    allowMissingPlatform,
    allowMissingAttestations,
    resolveFrom,
    referrers,
    // Otherwise they only decide where bytes come from.
    ...(resolveFrom === 'mirror' ? { mirrors: [...mirrors] } : {}),
    ...about,
  }
}

/** How the current inputs compare with those of an unfinished bundle. */
export type Comparison =
  | { kind: 'same' }
  /** Some of its images are no longer wanted; everything else is the same. */
  | { kind: 'fewer' }
  /** The differences, old and new. */
  | { kind: 'other'; differences: Problem[] }

/** Names of the inputs for messages. */
const NAMES: Record<keyof PackInputs, string> = {
  images: 'images',
  lock: 'lock',
  platforms: 'platforms',
  rewriteDigests: 'rewriting digests',
  allowMissingPlatform: 'allowing missing platforms',
  allowMissingAttestations: 'allowing missing attestations',
  resolveFrom: 'who resolves tags',
  referrers: 'referrers',
  mirrors: 'mirrors',
  name: 'name',
  version: 'version',
  expires: 'expiry',
  sequence: 'sequence',
  created: 'creation time (SOURCE_DATE_EPOCH)',
  key: 'signing key',
}

/** @param lock the lock that is given now, if any. */
export function compareInputs(header: JournalHeader, now: PackInputs, lock: Lock | undefined): Comparison {
  const old = header.inputs
  const before = new Set(old.images)
  const isWithin = now.images.every((image) => before.has(image))
  const isFewer = isWithin && now.images.length < old.images.length
  const isPartOfLock = lock !== undefined && isFewer && holdsAllOf(header.lock, lock)
  const differences: Problem[] = []
  if (header.tool.version !== TOOL.version) {
    differences.push({ entry: 'airgap', message: change(header.tool.version, TOOL.version) })
  }
  for (const key of Object.keys(NAMES) as (keyof PackInputs)[]) {
    if (JSON.stringify(old[key]) === JSON.stringify(now[key])) continue
    if (key === 'images') continue
    // A name that was not given came from files that may be gone; compare only with the name that was chosen.
    if (key === 'name' && now.name !== undefined) {
      const was = header.description.name
      if (now.name !== was) differences.push({ entry: NAMES.name, message: change(was, now.name) })
      continue
    }
    if (key !== 'lock' || !isPartOfLock) {
      differences.push({ entry: NAMES[key], message: change(old[key], now[key]) })
    }
  }
  const areOther = old.images.length !== now.images.length || !isWithin
  // Fewer images alone do not prevent resuming; they are listed only with other differences.
  if (areOther && (!isFewer || differences.length > 0)) {
    differences.unshift({ entry: NAMES.images, message: changeOfImages(old.images, now.images) })
  }
  if (differences.length > 0) return { kind: 'other', differences }
  return { kind: isFewer ? 'fewer' : 'same' }
}

function holdsAllOf(whole: Lock, part: Lock): boolean {
  const entries = new Map(whole.images.map((image) => [image.source, serialized(image)]))
  return part.images.every((image) => entries.get(image.source) === serialized(image))
}

/** The same for any order of the fields. */
function serialized(image: Lock['images'][number]): string {
  return serializeLock({
    type: 'dev.airgap.lock',
    formatVersion: '1.0',
    platforms: 'all',
    images: [image],
  }).toString()
}

const NONE = 'not given'

function change(old: PackInputs[keyof PackInputs], now: PackInputs[keyof PackInputs]): string {
  return `${shown(old)} → ${shown(now)}`
}

function shown(value: PackInputs[keyof PackInputs]): string {
  if (value === undefined) return NONE
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.join(', ')
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return String(value)
}

const MOST_NAMED = 3

function changeOfImages(old: readonly string[], now: readonly string[]): string {
  const [before, after] = [new Set(old), new Set(now)]
  const parts = [
    ['added', now.filter((image) => !before.has(image))],
    ['no longer', old.filter((image) => !after.has(image))],
  ] as const
  return parts
    .filter(([, images]) => images.length > 0)
    .map(([word, images]) => {
      const more = images.length - MOST_NAMED
      return `${word} ${images.slice(0, MOST_NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
    })
    .join('; ')
}

function sorted(images: readonly string[]): string[] {
  return images.toSorted(compareBytes)
}

/** The header of a journal for what has been planned. */
export function headerFor(
  { plan, signature }: PackPlan,
  decided: {
    begun: string
    inputs: PackInputs
    lock: Lock
    description: JournalHeader['description']
    file: FileIdentity
  },
): JournalHeader {
  return {
    type: JOURNAL_TYPE,
    formatVersion: JOURNAL_VERSION,
    tool: TOOL,
    ...decided,
    ...(signature ? { signature: encoded(signature) } : {}),
    bundleDigest: plan.bundleDigest,
    totalSize: plan.totalSize,
    blobBytes: plan.entries.reduce((sum, { digest, size }) => sum + (digest === undefined ? 0 : size), 0),
  }
}

function encoded({ sigstore, raw }: NonNullable<PackPlan['signature']>): JournalHeader['signature'] {
  return { sigstore: sigstore.toString('base64'), ...(raw ? { raw: raw.toString('base64') } : {}) }
}

/** The signature that a header holds. */
export function pinnedSignature({ signature }: JournalHeader): PackPlan['signature'] {
  if (!signature) return undefined
  const { sigstore, raw } = signature
  return {
    sigstore: Buffer.from(sigstore, 'base64'),
    ...(raw === undefined ? {} : { raw: Buffer.from(raw, 'base64') }),
  }
}

/**
 * Requires that a plan made from a journal is the original one. If the journal was altered, or this release plans
 * differently, the bundle would be another one than was begun.
 * @param partial the unfinished file, for messages.
 * @throws AirgapError `OUTPUT_UNFINISHED`
 */
export async function requirePinned(
  { plan, signature }: PackPlan,
  header: JournalHeader,
  key: SigningKey | undefined,
  partial: string,
): Promise<void> {
  const { verifySignature } = await import('../../trust/verify.ts')
  const isSame = plan.bundleDigest === header.bundleDigest && plan.totalSize === header.totalSize
  const isSigned = key
    ? verifySignature({
        payload: plan.checksums,
        signature: { bundleJson: signature?.sigstore, der: signature?.raw },
        keys: [key.publicKey],
      }).ok
    : signature === undefined
  if (isSame && isSigned) return
  const reason = isSame
    ? 'the signature in its journal is not by this key'
    : 'its journal describes a different bundle than it names'
  throw new AirgapError('OUTPUT_UNFINISHED', `${partial} cannot be resumed: ${reason}`, {
    hint: { id: 'fresh' },
  })
}
