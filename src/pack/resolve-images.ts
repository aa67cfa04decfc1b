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
/** Nobody waits for a better message longer than this. Milliseconds. */
const PATIENCE_MS = 5000

/**
 * Explains a tag that a registry does not have: which ones near to it there are, or that there is no such repository,
 * which many registries do not tell when they are asked for a tag. Costs one request.
 *
 * @param source where the tag was looked for; undefined where nobody was to be asked.
 * @returns `error` itself where it is another one, or where nothing more is found out.
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
    else if (tags.includes(tag)) found = 'the registry lists this tag and does not have what it leads to'
    else found = `the registry has no such tag, ${namedTags(tag, tags)}`
  } catch {
    // The tag is missing either way, and that is what the user has to hear of.
    return error
  }
  return error.with({ reason: `${found}: ${error.missing.told}`, cause: error })
}

function namedTags(wanted: string, tags: readonly string[]): string {
  const near = nearTags(wanted, tags)
  if (near.length > 0) return `but it has ${near.join(', ')}`
  return tags.length <= MOST_NAMED ? `only ${tags.join(', ')}` : `nor one near to it among ${tags.length}`
}

/** Those that differ by little, nearest first; among equals in the order of versions. */
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

/** An image that an input named, and the kind of input. */
export interface RequestedImage {
  reference: Reference
  from: ImageEntry['from']
}

/** Where images are read, and who may name their digests. */
export interface SourceOptions extends NetworkOptions, MirrorOptions {
  /** Who may turn a tag into a digest; `source` where left out. */
  resolveFrom?: 'source' | 'mirror' | undefined
}

/** What to take of which images. */
export interface SelectionOptions {
  /** References as people write them (`nginx:1.27`), or what `collectImages` has collected. */
  images: readonly (string | NamedImage)[]
  /** `OS/ARCH[/VARIANT]`; all platforms where left out. */
  platforms?: 'all' | readonly string[] | undefined
  /** Take only these platforms of references with a digest too, which changes their digest. */
  rewriteDigests?: boolean | undefined
  /** Take what there is where an image lacks a platform. */
  allowMissingPlatform?: boolean | undefined
  /**
   * Leave out attestations that an image's index lists and that cannot be had, which changes its digest; recorded as
   * `missingAttestations`.
   */
  allowMissingAttestations?: boolean | undefined
  /** Leave out images that cannot be resolved, and record them as `skipped`. */
  skipFailed?: boolean | undefined
  /**
   * What of all that refers to the images travels along: signatures, attestations, SBOMs. `all` where left out;
   * `signatures` are cosign's, Sigstore bundles and Notation's.
   */
  referrers?: ReferrerChoice | undefined
}

export type ResolveOptions = SourceOptions & SelectionOptions

/** What {@link resolveImages} needs: the same options, with what was read and made of them. */
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
  /** There are others already: it is no error of its own when none of these can be resolved. */
  mayAllFail?: boolean | undefined
  cache?: DocumentCache | undefined
}

/** What came of resolving: the images that could be, pinned, and those that could not. */
export interface Resolved {
  lock: Lock
  failed: ImageFailure[]
}

/**
 * Pins every image to a digest, and finds out what a bundle would deliver for it, and what refers to it. Reads
 * manifests, and the configs of images that are not in an index; nothing else is fetched. One that cannot be resolved does not stop the
 * others.
 *
 * @throws AirgapError when no image can be resolved (with several, `problems` names each), and for what concerns all
 *   of them: `NAME_CONFLICT`, `INVALID_REFERENCE`.
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
  const run = new RunLimits('Make several bundles, each of a part of these images.')
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

/** The lock of what could be resolved, with the rest recorded as left out. */
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
        warn(`${reason}; so it counts as stating no platform, and is taken as it is`),
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
  for (const digest of lost) warn(`${children.roleOf(digest)} (${digest}) cannot be had, and is left out`)
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
 * Reads the document that the reference names. A digest may come from anywhere, because it is compared. A tag
 * is turned into a digest by the source alone, unless mirrors were allowed to.
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
      hint: 'Look at the spelling of name and tag.',
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
  // Where the document may be had elsewhere, the tag's digest is asked for by HEAD, which counts towards no limit.
  const isElsewhere = all.length > 1 || cache.hasReuse
  const document = isElsewhere ? await named(source) : await source.fetchManifest(tag, signal)
  return { document, resolvedFrom: 'source' }
}

/** The tag is there, and what it leads to is not. */
function leadsNowhere(error: unknown, name: string, digest: Digest): unknown {
  if (!(error instanceof AirgapError) || error.code !== 'NOT_FOUND') return error
  return new AirgapError('NOT_FOUND', `the tag is there and leads to ${digest}, which is not to be had`, {
    doing: `resolve ${name}`,
    subject: name,
    hint: 'It was lost or deleted, or somebody is just pushing it: run the same command again. If it stays so, have the image pushed there again.',
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
    return new AirgapError('USAGE', `${movedBy} names no place that may turn its tag into a digest`, {
      subject: name,
      hint: 'Name the image with its digest, or use a file by which a mirror or the registry may resolve tags.',
    })
  }
  return new AirgapError(
    'USAGE',
    `${movedBy} has it read elsewhere than from ${registry}, and only ${registry} may turn its tag into a digest`,
    {
      subject: name,
      hint: [
        'Name the image with its digest, or let mirrors resolve tags: the bundle records that.',
        { id: 'resolve-from-mirror' },
      ],
    },
  )
}
