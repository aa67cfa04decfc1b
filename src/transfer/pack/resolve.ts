import { checkDeliveredNames, sortImages } from '../../bundle/layout.ts'
import { FORMAT_VERSION, type ImageEntry, type SkippedImage } from '../../bundle/description.ts'
import { reasonOf } from '../../bundle/skipped.ts'
import { AirgapError } from '../../errors.ts'
import { compareBytes } from '../../oci/json.ts'
import type { ManifestOrIndex } from '../../oci/manifest.ts'
import { formatPlatform, type Platform } from '../../oci/platform.ts'
import { formatReference, type Reference } from '../../oci/reference.ts'
import type { RegistryClient } from '../../registry/client.ts'
import { sourcesFor, type Mirror } from '../../registry/mirrors.ts'
import type { Repository } from '../../registry/repository.ts'
import type { OnEvent } from '../events.ts'
import { asRegistryFault, forEachImage, type ImageFailure } from '../failures.ts'
import { closureOf, closureSize, kindOf } from '../graph.ts'
import { LOCK_TYPE, type Lock } from './lock.ts'
import { selectPlatforms } from '../select.ts'
import { DocumentCache, firstThatHas } from './sources.ts'

/** An image that an input named, and the kind of input. */
export interface RequestedImage {
  reference: Reference
  from: ImageEntry['from']
}

export interface ResolveOptions {
  images: readonly RequestedImage[]
  platforms: 'all' | Platform[]
  /** Allow a subset of platforms for references that carry a digest too. */
  rewriteDigests?: boolean
  allowMissingPlatform?: boolean
  client: RegistryClient
  mirrors?: readonly Mirror[]
  /** Who may turn a tag into a digest. Default `source`. */
  resolveFrom?: 'source' | 'mirror'
  /** Images resolved at a time. */
  concurrency?: number
  cache?: DocumentCache
  signal?: AbortSignal
  onEvent?: OnEvent
}

/** What came of resolving: the images that could be, pinned, and those that could not. */
export interface Resolved {
  lock: Lock
  failed: ImageFailure[]
}

/**
 * Pins every image to a digest, and finds out what a bundle would deliver for it. Reads manifests, and the
 * configs of images that are not in an index; nothing else is fetched. One that cannot be resolved does not stop the
 * others.
 *
 * @throws AirgapError when no image can be resolved (with several, `problems` names each), and for what concerns all
 *   of them: `NAME_CONFLICT`, `INVALID_REFERENCE`.
 */
export async function resolveImages(options: ResolveOptions): Promise<Resolved> {
  const { images, onEvent } = options
  const cache = options.cache ?? new DocumentCache()
  onEvent?.({ type: 'phase', phase: 'resolve', items: images.length, bytes: 0 })
  const words = {
    nameOf: ({ reference }: RequestedImage) => formatReference(reference),
    faultOf: asRegistryFault,
    summary: 'could not be resolved',
  }
  const { results: resolved, failed } = await forEachImage(images, options, words, async (image) => {
    const entry = await resolveOne(image, options, cache)
    onEvent?.({ type: 'item', name: entry.source, bytes: entry.size, outcome: 'resolved' })
    return entry
  })
  checkDeliveredNames(resolved)
  const lock: Lock = {
    type: LOCK_TYPE,
    formatVersion: FORMAT_VERSION,
    platforms: options.platforms === 'all' ? 'all' : options.platforms.map(formatPlatform),
    images: sortImages(resolved),
  }
  return { lock, failed }
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
  options: ResolveOptions,
  cache: DocumentCache,
): Promise<ImageEntry> {
  const name = formatReference(reference)
  const { source, mirrors } = sourcesFor(options.client, reference, options.mirrors ?? [])
  const repositories = [...mirrors, source]
  const { document, resolvedFrom } = await readSource(reference, source, mirrors, options, cache)
  cache.add(document)

  const load = cache.loader(repositories, options.signal)
  const configPlatform = cache.configPlatform(repositories, options.signal)
  const selection = await selectPlatforms(document, {
    wanted: options.platforms,
    isPinned: reference.digest !== undefined,
    rewriteDigests: options.rewriteDigests ?? false,
    allowMissing: options.allowMissingPlatform ?? false,
    load,
    configPlatform,
    what: name,
  })
  for (const platform of selection.missing) {
    options.onEvent?.({ type: 'warning', message: `${name} does not have ${formatPlatform(platform)}` })
  }
  const { delivered } = selection
  cache.add(delivered)
  const root = { mediaType: delivered.mediaType, digest: delivered.digest, size: delivered.bytes.length }
  const closure = await closureOf(root, load, name)
  return {
    source: name,
    resolvedFrom,
    sourceDigest: document.digest,
    digest: delivered.digest,
    mediaType: delivered.mediaType,
    kind: kindOf(closure),
    platforms: selection.platforms,
    size: closureSize(closure),
    from,
  }
}

/**
 * Reads the document that the reference names. A digest may come from anywhere, because it is compared. A tag
 * is turned into a digest by the source alone, unless mirrors were allowed to.
 */
async function readSource(
  reference: Reference,
  source: Repository,
  mirrors: readonly Repository[],
  options: ResolveOptions,
  cache: DocumentCache,
): Promise<{ document: ManifestOrIndex; resolvedFrom: string }> {
  const { signal } = options
  const { digest, tag } = reference
  const all = [...mirrors, source]
  if (digest !== undefined) {
    return { document: await cache.fetch(digest, all, signal), resolvedFrom: 'source' }
  }
  if (tag === undefined) throw new AirgapError('INTERNAL', `${source.name} has neither tag nor digest`)
  if (options.resolveFrom === 'mirror' && mirrors.length > 0) {
    return firstThatHas(all, async (repository) => ({
      document: await repository.fetchManifest(tag, signal),
      resolvedFrom: repository === source ? 'source' : repository.name,
    }))
  }
  if (mirrors.length === 0)
    return { document: await source.fetchManifest(tag, signal), resolvedFrom: 'source' }
  const named = await source.resolveManifest(tag, signal)
  if (!named) {
    throw new AirgapError(
      'NOT_FOUND',
      `${formatReference(reference)}: ${source.registry} has no such image or tag`,
      {
        hint: 'Look at the spelling of name and tag.',
      },
    )
  }
  return { document: await cache.fetch(named.digest, all, signal), resolvedFrom: 'source' }
}
