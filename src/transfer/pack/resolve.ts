import { checkDeliveredNames, sortImages } from '../../bundle/layout.ts'
import { FORMAT_VERSION, type ImageEntry } from '../../bundle/description.ts'
import { AirgapError } from '../../errors.ts'
import type { ManifestOrIndex } from '../../oci/manifest.ts'
import { formatPlatform, type Platform } from '../../oci/platform.ts'
import { formatReference, type Reference } from '../../oci/reference.ts'
import type { RegistryClient } from '../../registry/client.ts'
import { NO_SUCH_TAG } from '../../registry/faults/words.ts'
import type { Mirrors } from '../../registry/mirrors/mirrors.ts'
import { sourcesFor, type Sources } from '../../registry/mirrors/sources.ts'
import type { Repository } from '../../registry/repository.ts'
import type { OnEvent } from '../events.ts'
import { asRegistryFault, forEachImage } from '../failures.ts'
import { closureOf, closureSize, kindOf } from '../graph.ts'
import { LOCK_TYPE, type Lock } from './lock.ts'
import { selectPlatforms } from '../select.ts'
import { explainMissingTag } from './near-tags.ts'
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
  mirrors?: Mirrors
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
  const sources = sourcesFor(options.client, reference, options.mirrors)
  const repositories = sources.all
  const { document, resolvedFrom } = await readSource(reference, sources, options, cache).catch(
    async (error: unknown) => {
      throw await explainMissingTag(error, reference, sources.source, options.signal)
    },
  )
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
  { all, source, naming, movedBy }: Sources,
  options: ResolveOptions,
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
    if (found) return cache.fetch(found.digest, all, signal)
    throw new AirgapError(
      'NOT_FOUND',
      `cannot resolve ${name}: ${NO_SUCH_TAG}: ${repository.registry} does not know it`,
      { hint: 'Look at the spelling of name and tag.' },
    )
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

function nobodyMayName(
  reference: Reference,
  movedBy: string,
  resolveFrom: ResolveOptions['resolveFrom'],
): AirgapError {
  const name = formatReference(reference)
  const { registry } = reference
  if (resolveFrom === 'mirror') {
    return new AirgapError(
      'USAGE',
      `${name}: ${movedBy} names no place that may turn its tag into a digest`,
      {
        hint: 'Name the image with its digest, or use a file by which a mirror or the registry may resolve tags.',
      },
    )
  }
  return new AirgapError(
    'USAGE',
    `${name}: ${movedBy} has it read elsewhere than from ${registry}, and only ${registry} may turn its tag into a digest`,
    {
      hint: 'With --resolve-from mirror the place that is read may do so, and the bundle records that; or name the image with its digest.',
    },
  )
}
