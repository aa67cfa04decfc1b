import { checkDeliveredNames, sortImages } from '../../bundle/layout.ts'
import { FORMAT_VERSION, type ImageEntry } from '../../bundle/description.ts'
import { AirgapError } from '../../errors.ts'
import type { ManifestOrIndex } from '../../oci/manifest.ts'
import { formatPlatform, type Platform } from '../../oci/platform.ts'
import { formatReference, type Reference } from '../../oci/reference.ts'
import type { RegistryClient } from '../../registry/client.ts'
import { sourcesFor, type Mirror } from '../../registry/mirrors.ts'
import type { Repository } from '../../registry/repository.ts'
import type { OnEvent } from '../events.ts'
import { asRegistryFault, forEachImage } from '../failures.ts'
import { closureOf, closureSize, kindOf } from '../graph.ts'
import { LOCK_TYPE, type Lock } from './lock.ts'
import { selectPlatforms } from '../select.ts'
import { expectSources } from './expect.ts'
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

/**
 * Pins every image to a digest, and finds out what a bundle would deliver for it. Reads manifests, and the
 * configs of images that are not in an index; nothing else is fetched.
 *
 * @throws AirgapError when any image cannot be resolved; with several, `problems` names each.
 */
export async function resolveImages(options: ResolveOptions): Promise<Lock> {
  const { images, onEvent } = options
  const cache = options.cache ?? new DocumentCache()
  onEvent?.({ type: 'phase', phase: 'resolve', items: images.length, bytes: 0 })
  expectSources(
    options.client,
    images.map(({ reference }) => reference),
    options.mirrors,
  )
  const words = {
    nameOf: ({ reference }: RequestedImage) => formatReference(reference),
    faultOf: asRegistryFault,
    summary: 'could not be resolved',
  }
  const resolved = await forEachImage(images, options, words, async (image) => {
    const entry = await resolveOne(image, options, cache)
    onEvent?.({ type: 'item', name: entry.source, bytes: entry.size, outcome: 'resolved' })
    return entry
  })
  checkDeliveredNames(resolved)
  return {
    type: LOCK_TYPE,
    formatVersion: FORMAT_VERSION,
    platforms: options.platforms === 'all' ? 'all' : options.platforms.map(formatPlatform),
    images: sortImages(resolved),
  }
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
  // Where the document may be had elsewhere, the tag's digest is asked for by HEAD, which counts towards no limit.
  const byHead = async (repository: Repository, sources: readonly Repository[]): Promise<ManifestOrIndex> => {
    const named = await repository.resolveManifest(tag, signal)
    if (!named) throw noSuchTag(reference, repository)
    if (named.document) cache.add(named.document)
    return cache.fetch(named.digest, sources, signal)
  }
  if (options.resolveFrom === 'mirror' && mirrors.length > 0) {
    return firstThatHas(all, async (repository) => ({
      document: cache.hasReuse
        ? await byHead(repository, [repository])
        : await repository.fetchManifest(tag, signal),
      resolvedFrom: repository === source ? 'source' : repository.name,
    }))
  }
  const isElsewhere = mirrors.length > 0 || cache.hasReuse
  return {
    document: isElsewhere ? await byHead(source, all) : await source.fetchManifest(tag, signal),
    resolvedFrom: 'source',
  }
}

function noSuchTag(reference: Reference, { registry }: Repository): AirgapError {
  return new AirgapError('NOT_FOUND', `${formatReference(reference)}: ${registry} has no such image or tag`, {
    hint: 'Look at the spelling of name and tag.',
  })
}
