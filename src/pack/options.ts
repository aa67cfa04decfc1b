import { checkDeliveredNames, sortImages } from '../bundle/layout.ts'
import { AirgapError } from '../errors.ts'
import { compareBytes } from '../oci/json.ts'
import { formatReference, parseReference, type Reference } from '../oci/reference.ts'
import type { RegistryClient } from '../registry/client.ts'
import type { JournalHeader, PackInputs } from './resume/format.ts'
import type { Lock } from './lock.ts'
import type { Resolved, SelectionOptions, SourceOptions } from './resolve-images.ts'
import type { DocumentCache } from './sources.ts'
import type { LateSigner, KeylessOptions } from './keyless.ts'
import type { SigningKey } from '../trust/keys.ts'
import { describeBundle, type DescriptionOptions } from './describe.ts'
import type { KnownMirrors } from '../inputs/mirrors/known.ts'
import type { Upstream, UpstreamOptions } from '../upstream/options.ts'
import { requestOf, resolveWith, type ResolveRequest } from './resolve.ts'
import type { Run } from '../content/run.ts'
import { isDeepStrictEqual } from 'node:util'
import type { ImageEntry } from '../bundle/description.ts'
import type { Writable } from 'node:stream'

/** The parsed options of a pack. */
export interface PackRequest {
  what: { lock: Lock; request?: undefined } | { request: ResolveRequest; lock?: undefined }
  description: ReturnType<typeof describeBundle>
}

/** The same, with what was read from files about mirrors and signing. */
export interface PackWork extends PackRequest {
  known: KnownMirrors
  signing: Signing
  /** Requirements for the upstreams' signatures. */
  upstream: Upstream | undefined
}

/** What signs a bundle: a key when it is planned, or a certificate at the end. Without both, it is unsigned. */
export interface Signing {
  key?: SigningKey | undefined
  late?: LateSigner | undefined
}

/**
 * Checks and prepares everything that signing needs.
 * @throws AirgapError as {@link prepareKeyless}; `USAGE` if a stream is to be signed without a key.
 */
export async function signingOf(options: PackOptions, run: Run): Promise<Signing> {
  const { key, output } = options
  if (key === 'unsigned') return {}
  if (!('keyless' in key)) return { key }
  if (output !== undefined && typeof output !== 'string') {
    throw new AirgapError('USAGE', 'a bundle that is signed without a key cannot be written to a stream', {
      hint: 'The signature is made last, but comes before the blobs. Pack into a file, then send that.',
    })
  }
  const { prepareKeyless } = await import('./keyless.ts')
  return { late: await prepareKeyless(key.keyless, options, run, { isPlan: output === undefined }) }
}

/**
 * Parses the options, so that mistakes are found before any work is done.
 * @param name of the bundle, as it was chosen.
 * @throws AirgapError `USAGE`, `INVALID_REFERENCE`, `INVALID_PLATFORM`
 */
export function packRequestOf(options: PackOptions, name: string): PackRequest {
  const { images, lock } = options
  const request = images && requestOf({ ...options, images })
  const description = describeBundle({ ...options, name }, Date.now())
  if (lock && !request) return { what: { lock }, description }
  if (request && !lock) return { what: { request }, description }
  throw new AirgapError('USAGE', 'give either a lock or images to pack')
}

/** The images that are asked for. */
export function referencesOf({ what }: PackRequest): Reference[] {
  return what.request
    ? what.request.images.map(({ reference }) => reference)
    : what.lock.images.map(({ source }) => parseReference(source))
}

/** The given lock, or a new one with the images that could not be resolved. */
export async function lockOf(
  { what, known }: PackWork,
  client: RegistryClient,
  options: PackOptions & { mayAllFail?: boolean },
  run: Run,
  cache: DocumentCache,
): Promise<Resolved> {
  if (what.lock) return { lock: what.lock, failed: [] }
  const { request } = what
  const { mirrors } = known
  return resolveWith(client, { ...options, images: request.images }, run, { ...request, mirrors }, cache)
}

/**
 * The lock with which a pack resumes: what the interrupted run pinned, as far as it is still wanted, and what it could not
 * resolve and is resolved now. Images that it left out stay left out if `isSkipping`, or if a lock is packed.
 *
 * @param resolving asks registries; called only for what is missing.
 * @returns the same lock object as in `header` if nothing has changed.
 */
export async function lockGoingOn(
  { lock }: JournalHeader,
  inputs: PackInputs,
  work: PackWork,
  isSkipping: boolean,
  resolving: (work: PackWork) => Promise<Resolved>,
): Promise<Resolved> {
  const wanted = new Set(inputs.images)
  const kept = lock.images.filter(({ source }) => wanted.has(source))
  const before = lock.skipped ?? []
  const leftOut = isSkipping || work.what.lock ? before.filter(({ source }) => wanted.has(source)) : []
  const known = new Set([...kept, ...leftOut].map(({ source }) => source))
  const { request } = work.what
  const missing = request?.images.filter(({ reference }) => !known.has(formatReference(reference))) ?? []
  const isSame = kept.length === lock.images.length && leftOut.length === before.length
  if (isSame && missing.length === 0) return { lock, failed: [] }
  const found =
    request && missing.length > 0
      ? await resolving({ ...work, what: { request: { ...request, images: missing } } })
      : undefined
  const images = sortImages([...kept, ...(found?.lock.images ?? [])])
  checkDeliveredNames(images)
  const skipped = [...leftOut, ...(found?.lock.skipped ?? [])]
  const { skipped: _, ...rest } = lock
  const now: Lock = {
    ...rest,
    images,
    ...(skipped.length === 0
      ? {}
      : { skipped: skipped.toSorted((a, b) => compareBytes(a.source, b.source)) }),
  }
  // Nothing has changed if what failed then fails again.
  const isOld = isSame && found?.lock.images.length === 0 && found.lock.skipped === undefined
  return { lock: isOld ? lock : now, failed: found?.failed ?? [] }
}

/**
 * Verifies the upstreams' signatures of resolved images, if asked to. Records of earlier verifications, in a lock or by an
 * interrupted run, do not count: whoever packs could have made them up.
 *
 * @param before the lock of an interrupted run; returned if nothing has changed.
 * @returns the images that pass; the others are added to those that could not be resolved.
 * @throws AirgapError as `verifyLock`, if no image passes.
 */
export async function withUpstream(
  { lock, failed }: Resolved,
  work: PackWork,
  context: {
    client: RegistryClient
    cache: DocumentCache
    options: PackOptions
    run: Run
    before?: Lock | undefined
  },
): Promise<Resolved> {
  const { client, cache, options, run, before } = context
  const { upstream } = work
  const listed = work.what.lock ? 'none' : (options.referrers ?? 'all')
  const asked = new Map(work.what.lock?.images.map(({ source, referrers }) => [source, referrers]))
  const bare = lock.images.map((image) =>
    withoutRecord(image, listed === 'none' ? asked.get(image.source) : image.referrers),
  )
  if (!upstream) {
    const isBare = lock.images.every((image, i) => image === bare[i])
    return { lock: isBare ? lock : { ...lock, images: bare }, failed }
  }
  const { verifyLock } = await import('../upstream/verify-lock.ts')
  const { allFailed } = await import('../content/failures.ts')
  const { serializeLock } = await import('./lock.ts')
  const verified = await verifyLock(
    { ...lock, images: bare },
    {
      ...run,
      concurrency: options.concurrency,
      ...upstream,
      client,
      mirrors: work.known.mirrors,
      cache,
      resolveFrom: options.resolveFrom ?? 'source',
      isListed: () => listed !== 'none',
      mayAllFail: failed.length > 0,
    },
  )
  const all = [...failed, ...verified.failed]
  if (verified.images.length === 0) {
    throw allFailed(all, `${all.length} of ${bare.length + failed.length} images cannot be packed`)
  }
  const now: Lock = { ...lock, images: verified.images }
  const isSame = before !== undefined && serializeLock(now).equals(serializeLock(before))
  return { lock: isSame ? before : now, failed: all }
}

/**
 * Removes the record of an earlier verification.
 * @param referrers the ones to pack without any policy. Those that were found only for a policy are part of the record,
 *   and an interrupted run may have had another policy, or none.
 */
function withoutRecord(image: ImageEntry, referrers: ImageEntry['referrers']): ImageEntry {
  const { upstream, referrers: before, ...rest } = image
  if (upstream === undefined && isDeepStrictEqual(before, referrers)) return image
  return { ...rest, ...(referrers ? { referrers } : {}) }
}

/** Give either `images` or `lock`; the other options for images go with `images`. */
export interface PackOptions extends SourceOptions, DescriptionOptions, Partial<SelectionOptions> {
  /** What to pack, as pinned by {@link resolve}. */
  lock?: Lock | undefined
  /**
   * The file, or a stream, which gets the same bytes in order and is not ended. What a stream got before a failure does not
   * pass any verification. If undefined, the bundle is only planned, and no layers are fetched.
   */
  output: string | Writable | undefined
  /**
   * If `output` is undefined: the file that the bundle would be written to. The default name follows from it, and a warning
   * tells if it could not be written.
   */
  fileName?: string | undefined
  /** Replace the file if it exists. */
  force?: boolean | undefined
  /** Start from scratch, even if an interrupted pack could be resumed. */
  fresh?: boolean | undefined
  /**
   * The key that signs the bundle, or `unsigned`. `keyless` signs with a certificate for an identity token, after every
   * blob is there. This makes the identity and the SHA-256 of `SHA256SUMS` public for ever, unless the services are
   * private.
   */
  key: SigningKey | 'unsigned' | { keyless: KeylessOptions }
  /**
   * Verify the upstreams' signatures of the images. An image that does not pass fails, and `skipFailed` does not leave it
   * out. `upstream` of each image in the description says what was verified, and the signature is packed, too.
   */
  verifyUpstream?: UpstreamOptions | undefined
  /** Earlier bundles, finished or not, whose blobs are used instead of fetching them. */
  reuse?: readonly string[] | undefined
  /**
   * Called if a pack breaks off and leaves something that the same call can resume. The pack waits for it, even if it was
   * cancelled.
   */
  onIncomplete?: ((unfinished: UnfinishedPack) => void | Promise<void>) | undefined
}

/** What a pack that broke off has left, for the same call to resume. */
export interface UnfinishedPack {
  /** The unfinished file. */
  file: string
  /** Bytes of blobs that it has. */
  bytes: number
  /** Bytes of all blobs. */
  total: number
}
