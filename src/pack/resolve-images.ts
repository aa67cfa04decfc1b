import { checkDeliveredNames, sortImages } from '../bundle/layout.ts'
import { FORMAT_VERSION, type ImageEntry, type SkippedImage } from '../bundle/description.ts'
import { reasonOf } from '../bundle/skipped.ts'
import { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { compareBytes } from '../oci/json.ts'
import type { ManifestOrIndex, ReferrerChoice } from '../oci/manifest.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import { formatReference, type Reference } from '../oci/reference.ts'
import type { RegistryClient } from '../registry/client.ts'
import { NO_SUCH_REPOSITORY, NO_SUCH_TAG } from '../registry/faults/quote.ts'
import type { Mirrors } from '../registry/mirrors/mirrors.ts'
import { type Sources, sourcesFor } from '../registry/mirrors/sources.ts'
import type { Repository } from '../registry/repository.ts'
import { allFailed, asRegistryFault, forEachImage, type ImageFailure } from '../content/failures.ts'
import { closureOf, closureSize, kindOf, withDelivered } from '../content/graph.ts'
import { LEAVE_OUT, Limits, RunLimits } from '../content/limits.ts'
import { type Lock, LOCK_TYPE } from './lock.ts'
import { selectPlatforms } from '../content/select.ts'
import { addReferrers, type PinnedImage } from './referrers/find.ts'
import { Children } from './children.ts'
import { DocumentCache, firstThatHas, expectSources } from './sources.ts'
import { editDistance } from '../nearest.ts'
import type { Run } from '../content/run.ts'
import type { NamedImage } from '../inputs/inputs.ts'
import type { MirrorOptions } from '../inputs/mirrors/known.ts'
import type { NetworkOptions } from '../registry/options.ts'

const MOST_NAMED = 5
/** How long to wait for a better message. Milliseconds. */
const PATIENCE_MS = 5000

/**
 * Explains why a registry does not have a tag: names similar tags, or says that the repository does not exist, which many
 * registries do not say when asked for a tag. Makes one request.
 *
 * @param source where the tag was looked for; undefined if no registry may be asked.
 * @returns `error` itself if it is about something else, or if nothing more is known.
 */
async function explainMissingTag(
  error: unknown,
  { tag, digest }: Pick<Reference, 'tag' | 'digest'>,
  source: Repository | undefined,
  signal?: AbortSignal,
): Promise<unknown> {
  if (!(error instanceof AirgapError) || error.code !== 'NOT_FOUND' || !error.missing) return error
  if (!source || tag === undefined || digest !== undefined) return error
  const patience = AbortSignal.timeout(PATIENCE_MS)
  let found: string
  try {
    const tags = await source.someTags(signal === undefined ? patience : AbortSignal.any([signal, patience]))
    if (tags === undefined) found = NO_SUCH_REPOSITORY
    else if (tags.length === 0) return error
    else if (tags.includes(tag)) found = 'the registry lists this tag, but does not have what it points to'
    else found = `the registry has no such tag, ${namedTags(tag, tags)}`
  } catch {
    // The tag is missing either way, and that is what the user must be told.
    return error
  }
  return error.with({ reason: `${found}: ${error.missing.told}`, cause: error })
}

function namedTags(wanted: string, tags: readonly string[]): string {
  const near = nearTags(wanted, tags)
  if (near.length > 0) return `but it has ${near.join(', ')}`
  return tags.length <= MOST_NAMED
    ? `only ${tags.join(', ')}`
    : `and none of the ${tags.length} that it lists is similar`
}

/** Similar tags, the most similar first; equally similar ones in the order of versions. */
export function nearTags(wanted: string, tags: readonly string[]): string[] {
  const most = Math.max(2, Math.floor(wanted.length / 4))
  return tags
    .filter((tag) => Math.abs(tag.length - wanted.length) <= most)
    .map((tag) => ({ tag, distance: editDistance(wanted, tag) }))
    .filter(({ distance }) => distance <= most)
    .toSorted((a, b) => a.distance - b.distance || a.tag.localeCompare(b.tag, 'en', { numeric: true }))
    .slice(0, MOST_NAMED)
    .map(({ tag }) => tag)
}

/** An image, and the kind of input that named it. */
export interface RequestedImage {
  reference: Reference
  from: ImageEntry['from']
}

/** Where images are read, and who may resolve their tags. */
export interface SourceOptions extends NetworkOptions, MirrorOptions {
  /** Who may turn a tag into a digest; `source` by default. */
  resolveFrom?: 'source' | 'mirror' | undefined
}

/** What to take of which images. */
export interface SelectionOptions {
  /** References as people write them (`nginx:1.27`), or the result of `collectImages`. */
  images: readonly (string | NamedImage)[]
  /** `OS/ARCH[/VARIANT]`; all platforms by default. */
  platforms?: 'all' | readonly string[] | undefined
  /** Take only these platforms of references with a digest, too, which changes the digest. */
  rewriteDigests?: boolean | undefined
  /** If an image lacks some of the platforms, take the others. */
  allowMissingPlatform?: boolean | undefined
  /**
   * Leave out attestations that an image's index lists but that cannot be fetched, which changes its digest. They are
   * recorded as `missingAttestations`.
   */
  allowMissingAttestations?: boolean | undefined
  /** Leave out images that cannot be resolved, and record them as `skipped`. */
  skipFailed?: boolean | undefined
  /**
   * Which referrers (signatures, attestations, SBOMs) are packed with the images. `all` by default; `signatures` are
   * cosign's, Sigstore bundles and Notation's.
   */
  referrers?: ReferrerChoice | undefined
}

export type ResolveOptions = SourceOptions & SelectionOptions

/** What {@link resolveImages} needs: the same options, parsed. */
export interface ResolveRun
  extends
    Partial<Run>,
    Pick<SourceOptions, 'resolveFrom' | 'concurrency'>,
    Pick<
      SelectionOptions,
      'rewriteDigests' | 'allowMissingPlatform' | 'allowMissingAttestations' | 'referrers'
    > {
  images: readonly RequestedImage[]
  platforms: 'all' | Platform[]
  client: RegistryClient
  mirrors?: Mirrors | undefined
  /** There are other images: it is not an error if none of these can be resolved. */
  mayAllFail?: boolean | undefined
  cache?: DocumentCache | undefined
}

/** The lock of the images that could be resolved, and those that could not. */
export interface Resolved {
  lock: Lock
  failed: ImageFailure[]
}

/**
 * Pins every image to a digest, and finds out what a bundle would deliver for it and what refers to it. Fetches only
 * manifests, and the configs of images that are not in an index. An image that cannot be resolved does not stop the others.
 *
 * @throws AirgapError if no image can be resolved (with several, `problems` names each), and for errors that concern all of
 *   them: `NAME_CONFLICT`, `INVALID_REFERENCE`.
 */
export async function resolveImages(options: ResolveRun): Promise<Resolved> {
  const { images, onEvent } = options
  const cache = options.cache ?? new DocumentCache()
  onEvent?.({ type: 'phase', phase: 'resolve', items: images.length, bytes: 0 })
  expectSources(
    options.client,
    images.map(({ reference }) => reference),
    options.mirrors,
  )
  const run = new RunLimits('Make several bundles, each with some of these images.')
  const words = {
    nameOf: ({ reference }: RequestedImage) => formatReference(reference),
    faultOf: asRegistryFault,
    summary: 'could not be resolved',
  }
  const { results: pinned, failed } = await forEachImage(images, options, words, async (image) => {
    const one = await resolveOne(image, options, cache, run)
    onEvent?.({ type: 'item', name: one.entry.source, bytes: one.entry.size, outcome: 'resolved' })
    return one
  })
  const { results: resolved, failed: unlisted } = await addReferrers(pinned, {
    choice: options.referrers ?? 'all',
    resolveFrom: options.resolveFrom ?? 'source',
    cache,
    concurrency: options.concurrency,
    mayAllFail: (options.mayAllFail ?? false) || failed.length > 0,
    signal: options.signal,
    onEvent,
  })
  const all = [...failed, ...unlisted]
  if (resolved.length === 0 && options.mayAllFail !== true) {
    throw allFailed(all, `${all.length} of ${images.length} images ${words.summary}`)
  }
  checkDeliveredNames(resolved)
  const lock: Lock = {
    type: LOCK_TYPE,
    formatVersion: FORMAT_VERSION,
    platforms: options.platforms === 'all' ? 'all' : options.platforms.map(formatPlatform),
    images: sortImages(resolved),
  }
  return { lock, failed: all }
}

/** The lock of the images that could be resolved, which records the others as left out. */
export function skipFailed({ lock, failed }: Resolved): Lock {
  const skipped = new Map<string, SkippedImage>()
  for (const { source, error } of failed) {
    skipped.set(source, { source, code: error.code, message: reasonOf(error.message) || error.code })
  }
  if (skipped.size === 0) return lock
  return { ...lock, skipped: [...skipped.values()].toSorted((a, b) => compareBytes(a.source, b.source)) }
}

async function resolveOne(
  { reference, from }: RequestedImage,
  options: ResolveRun,
  cache: DocumentCache,
  run: RunLimits,
): Promise<PinnedImage> {
  const name = formatReference(reference)
  const sources = sourcesFor(options.client, reference, options.mirrors)
  const repositories = sources.all
  const { document, resolvedFrom } = await readSource(reference, sources, options, cache).catch(
    async (error: unknown) => {
      throw await explainMissingTag(error, reference, sources.source, options.signal)
    },
  )
  cache.add(document)

  const warn = (message: string): void => {
    options.onEvent?.({ type: 'warning', message: `${name}: ${message}` })
  }
  const { signal, rewriteDigests = false } = options
  const isPinned = reference.digest !== undefined
  const children = new Children(document, { what: name, cache, repositories, signal })
  const wayOut = { isPinned: isPinned && !rewriteDigests }
  const limits = new Limits(run, { image: name, hint: LEAVE_OUT })
  limits.read(document)
  const { closure, ...selection } = await children.telling(wayOut, async () => {
    const load = limits.counting(children.load)
    const selected = await selectPlatforms(document, {
      wanted: options.platforms,
      isPinned,
      rewriteDigests,
      allowMissing: options.allowMissingPlatform ?? false,
      allowMissingAttestations: options.allowMissingAttestations ?? false,
      load,
      configPlatform: cache.configPlatform(repositories, signal, (reason) =>
        warn(`${reason}; the image is taken as it is, without a platform`),
      ),
      what: name,
    })
    const { mediaType, digest, bytes } = selected.delivered
    const root = { mediaType, digest, size: bytes.length }
    const from = withDelivered(load, selected.delivered)
    return { ...selected, closure: await closureOf(root, from, name, undefined, limits) }
  })
  const { delivered, lost } = selection
  for (const platform of selection.missing) {
    options.onEvent?.({ type: 'warning', message: `${name} does not have ${formatPlatform(platform)}` })
  }
  for (const digest of lost) warn(`${children.roleOf(digest)} (${digest}) cannot be fetched, and is left out`)
  const entry: ImageEntry = {
    source: name,
    resolvedFrom,
    sourceDigest: document.digest,
    digest: delivered.digest,
    mediaType: delivered.mediaType,
    kind: kindOf(closure),
    platforms: selection.platforms,
    size: closureSize(closure),
    from,
    ...(lost.length === 0 ? {} : { missingAttestations: lost }),
  }
  return { entry, own: new Set(closure.documents.keys()), sources }
}

/**
 * Reads the document that the reference names. A digest may be read from anywhere, because it is checked. Only the source
 * may turn a tag into a digest, unless mirrors were allowed to.
 */
async function readSource(
  reference: Reference,
  { all, source, naming, movedBy }: Sources,
  options: ResolveRun,
  cache: DocumentCache,
): Promise<{ document: ManifestOrIndex; resolvedFrom: string }> {
  const { signal } = options
  const { digest, tag } = reference
  if (digest !== undefined) {
    return { document: await cache.fetch(digest, all, signal), resolvedFrom: 'source' }
  }
  const name = formatReference(reference)
  if (tag === undefined) throw new AirgapError('INTERNAL', `${name} has neither tag nor digest`)
  const named = async (repository: Repository): Promise<ManifestOrIndex> => {
    const found = await repository.resolveManifest(tag, signal)
    if (found?.document) cache.add(found.document)
    if (found) {
      return cache.fetch(found.digest, all, signal).catch((error: unknown) => {
        throw leadsNowhere(error, name, found.digest)
      })
    }
    const told = `${repository.registry} does not know it`
    throw new AirgapError('NOT_FOUND', `${NO_SUCH_TAG}: ${told}`, {
      doing: `resolve ${name}`,
      subject: name,
      missing: { told },
      hint: 'Check the spelling of the name and the tag.',
    })
  }
  if (options.resolveFrom === 'mirror' && naming.length > 0) {
    const mayName = [...naming.map(({ repository }) => repository), ...(source ? [source] : [])]
    return firstThatHas(mayName, async (repository) => ({
      document:
        all.includes(repository) && !cache.hasReuse
          ? await repository.fetchManifest(tag, signal)
          : await named(repository),
      resolvedFrom: repository === source ? 'source' : repository.name,
    }))
  }
  if (!source) throw nobodyMayName(reference, movedBy ?? '', options.resolveFrom)
  // If others may have the document, ask only for the tag's digest, by HEAD, which does not count towards rate limits.
  const isElsewhere = all.length > 1 || cache.hasReuse
  const document = isElsewhere ? await named(source) : await source.fetchManifest(tag, signal)
  return { document, resolvedFrom: 'source' }
}

/** The tag exists, but what it points to does not. */
function leadsNowhere(error: unknown, name: string, digest: Digest): unknown {
  if (!(error instanceof AirgapError) || error.code !== 'NOT_FOUND') return error
  return new AirgapError('NOT_FOUND', `the tag exists, but ${digest}, which it points to, is not available`, {
    doing: `resolve ${name}`,
    subject: name,
    hint: 'It was lost or deleted, or it is being pushed right now: run the same command again. If the error persists, have the image pushed there again.',
    problems: error.problems,
    cause: error,
  })
}

function nobodyMayName(
  reference: Reference,
  movedBy: string,
  resolveFrom: ResolveRun['resolveFrom'],
): AirgapError {
  const name = formatReference(reference)
  const { registry } = reference
  if (resolveFrom === 'mirror') {
    return new AirgapError('USAGE', `${movedBy} names no registry that may turn its tag into a digest`, {
      subject: name,
      hint: 'Name the image with its digest, or use a file that lets a mirror or the registry resolve tags.',
    })
  }
  return new AirgapError(
    'USAGE',
    `${movedBy} redirects it away from ${registry}, but only ${registry} may turn its tag into a digest`,
    {
      subject: name,
      hint: [
        'Name the image with its digest, or let mirrors resolve tags: the bundle records that.',
        { id: 'resolve-from-mirror' },
      ],
    },
  )
}
