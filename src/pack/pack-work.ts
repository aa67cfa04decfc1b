import { checkDeliveredNames, sortImages } from '../bundle/layout.ts'
import { AirgapError } from '../errors.ts'
import { compareBytes } from '../oci/json.ts'
import { formatReference, parseReference, type Reference } from '../oci/reference.ts'
import type { RegistryClient } from '../registry/client.ts'
import type { JournalHeader, PackInputs } from './resume/format.ts'
import type { Lock } from './lock.ts'
import type { Resolved } from './resolve-images.ts'
import type { DocumentCache } from './sources.ts'
import type { LateSigner } from './keyless.ts'
import type { SigningKey } from '../trust/keys.ts'
import { describeBundle } from './describe.ts'
import type { PackOptions } from './pack.ts'
import type { KnownMirrors } from '../inputs/mirrors/known.ts'
import type { Upstream } from '../upstream/options.ts'
import { requestOf, resolveWith, type ResolveRequest } from './resolve.ts'
import type { Run } from '../content/run.ts'

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
