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

/** What the options of a pack come to by themselves. */
export interface PackRequest {
  what: { lock: Lock; request?: undefined } | { request: ResolveRequest; lock?: undefined }
  description: ReturnType<typeof describeBundle>
}

/** The same, with what files say of mirrors and of signing. */
export interface PackWork extends PackRequest {
  known: KnownMirrors
  signing: Signing
  /** What is demanded of the upstreams' signatures. */
  upstream: Upstream | undefined
}

/** What signs: a key when the bundle is planned, or something else when it is there; neither leaves it unsigned. */
export interface Signing {
  key?: SigningKey | undefined
  late?: LateSigner | undefined
}

/**
 * Looks at everything that signing needs.
 * @throws AirgapError as {@link prepareKeyless}; `USAGE` for a stream, which cannot be gone back on.
 */
export async function signingOf(options: PackOptions, run: Run): Promise<Signing> {
  const { key, output } = options
  if (key === 'unsigned') return {}
  if (!('keyless' in key)) return { key }
  if (output !== undefined && typeof output !== 'string') {
    throw new AirgapError('USAGE', 'a bundle that is signed without a key cannot be written to a stream', {
      hint: 'The signature is made when every blob is there, and stands in front of them. Pack into a file, then send that.',
    })
  }
  const { prepareKeyless } = await import('./keyless.ts')
  return { late: await prepareKeyless(key.keyless, options, run, { isPlan: output === undefined }) }
}

/**
 * Reads everything that can be wrong in the options.
 * @param name of the bundle, as it was chosen.
 * @throws AirgapError `USAGE`, `INVALID_REFERENCE`, `INVALID_PLATFORM`
 */
export function packRequestOf(options: PackOptions, name: string): PackRequest {
  const { images, lock } = options
  const request = images && requestOf({ ...options, images })
  const description = describeBundle({ ...options, name }, Date.now())
  if (lock && !request) return { what: { lock }, description }
  if (request && !lock) return { what: { request }, description }
  throw new AirgapError('USAGE', 'either a lock or images are packed')
}

/** The images that are asked for. */
export function referencesOf({ what }: PackRequest): Reference[] {
  return what.request
    ? what.request.images.map(({ reference }) => reference)
    : what.lock.images.map(({ source }) => parseReference(source))
}

/** The lock that was given, or what is pinned now, and what could not be. */
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
 * What an interrupted pack has pinned, as far as it is still wanted, and what it could not resolve then. What it has
 * left out stays so where that is still asked for.
 *
 * @param resolving asks registries; called for what is missing only.
 * @returns the very lock of `header` where nothing has changed.
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
  // What failed then and fails again changes nothing.
  const isOld = isSame && found?.lock.images.length === 0 && found.lock.skipped === undefined
  return { lock: isOld ? lock : now, failed: found?.failed ?? [] }
}

/**
 * Applies an upstream policy to what a pack resolved. Earlier records, in a lock or from an interrupted run, are
 * ignored, because every pack makes its own.
 *
 * @param before the lock of an interrupted run; returned if nothing changed.
 * @returns the images that pass. Those that do not pass are added to those that could not be resolved.
 * @throws AirgapError as `verifyLock`, if none passes.
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
  const { serializeLock } = await import('../pack/lock.ts')
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
 * The image without upstream records. Referrers that were found only for a policy are part of the record too: an
 * interrupted run may have had another policy, or none.
 * @param referrers those that travel along in any case.
 */
function withoutRecord(image: ImageEntry, referrers: ImageEntry['referrers']): ImageEntry {
  const { upstream, referrers: before, ...rest } = image
  if (upstream === undefined && isDeepStrictEqual(before, referrers)) return image
  return { ...rest, ...(referrers ? { referrers } : {}) }
}

/** Exactly one of `images` and `lock` is needed; what else there is to say about images goes with `images`. */
export interface PackOptions extends SourceOptions, DescriptionOptions, Partial<SelectionOptions> {
  /** What to pack, as {@link resolve} has pinned it. */
  lock?: Lock | undefined
  /**
   * The file. Or a stream, which gets the same bytes in order and is not ended: after a failure it holds a beginning
   * that no verification takes for a bundle. Undefined only plans: nothing but manifests is fetched.
   */
  output: string | Writable | undefined
  /**
   * The file of the bundle that is planned, where `output` is undefined: its default name follows from it, and a warning
   * tells where it could not be written.
   */
  fileName?: string | undefined
  /** Replace the file if it exists. */
  force?: boolean | undefined
  /** Start over from nothing, even if an interrupted pack could be gone on with. */
  fresh?: boolean | undefined
  /**
   * Signs the bundle; `unsigned` leaves it so. `keyless` signs with a certificate for an identity token, when every blob is
   * there; the identity and the SHA-256 of `SHA256SUMS` become public for ever then, unless the services are private ones.
   */
  key: SigningKey | 'unsigned' | { keyless: KeylessOptions }
  /**
   * Verify who has signed the images at their upstreams. One that does not pass fails, and is not left out by `skipFailed`;
   * `upstream` of each image in the description says what was verified, and the signature travels along.
   */
  verifyUpstream?: UpstreamOptions | undefined
  /** Earlier bundles, also unfinished ones, that blobs are taken from instead of the network. */
  reuse?: readonly string[] | undefined
  /**
   * Is told what a pack that broke off has left for the same call to go on with; not where nothing is left. Waited
   * for, also when the work is called off.
   */
  onIncomplete?: ((unfinished: UnfinishedPack) => void | Promise<void>) | undefined
}

/** What a pack that broke off has left, for the same call to go on with. */
export interface UnfinishedPack {
  /** The unfinished file. */
  file: string
  /** Bytes of blobs that are there. */
  bytes: number
  /** Bytes of all blobs. */
  total: number
}
