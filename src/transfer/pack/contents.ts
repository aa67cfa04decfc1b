import { requiredFeatures, type BundleDescription, type ImageEntry } from '../../bundle/description.ts'
import type { Amount } from '../amount.ts'
import { describingFiles } from '../../bundle/layout.ts'
import { checksumsOf, type PlannedBlob } from '../../bundle/plan.ts'
import { AirgapError } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Descriptor, ManifestOrIndex } from '../../oci/manifest.ts'
import { parseReference } from '../../oci/reference.ts'
import type { RegistryClient } from '../../registry/client.ts'
import type { Mirrors } from '../../registry/mirrors/mirrors.ts'
import { sourcesFor } from '../../registry/mirrors/sources.ts'
import type { Repository } from '../../registry/repository.ts'
import type { OnEvent } from '../events.ts'
import { allFailed, asRegistryFault, excludeFlags, forEachImage, incomplete } from '../failures.ts'
import { closureOf, closureSize, kindOf, type Closure, type KnownSizes } from '../graph.ts'
import type { ReferrerGraph } from '../referrers.ts'
import type { Lock } from './lock.ts'
import { repeatSelection } from '../select.ts'
import { Children } from './children.ts'
import { expectSources } from './expect.ts'
import { gatherReferrers } from './referrers/gather.ts'
import { DocumentCache } from './sources.ts'

/** A blob that has to be fetched, and the repositories that may have it, in the order to try. */
export interface BlobToFetch {
  descriptor: Descriptor
  sources: Repository[]
  /** The images that it belongs to. */
  images: ImageEntry[]
}

/** All that a bundle will hold, with every digest and size known and no layer fetched yet. */
export interface BundleContents {
  files: { name: string; bytes: Buffer }[]
  blobs: PlannedBlob[]
  toFetch: Map<Digest, BlobToFetch>
  /** How many of the blobs are manifests or indexes. */
  manifests: Amount
  checksums: Buffer
  description: BundleDescription
}

export interface ContentsOptions {
  lock: Lock
  /** Everything in `airgap.json` but the images, which come from the lock. */
  description: Omit<BundleDescription, 'images' | 'platforms' | 'skipped'>
  client: RegistryClient
  mirrors?: Mirrors
  concurrency?: number
  cache?: DocumentCache
  signal?: AbortSignal
  onEvent?: OnEvent
}

/**
 * Reads the manifests that a lock names, by digest, and works out the bundle's contents from them.
 * @throws AirgapError when a registry answers otherwise than the lock says, naming every image concerned.
 */
export async function gatherContents(options: ContentsOptions): Promise<BundleContents> {
  const { lock } = options
  const cache = options.cache ?? new DocumentCache()
  const sizes: KnownSizes = new Map()
  const references = lock.images.map(({ source }) => parseReference(source))
  expectSources(options.client, references, options.mirrors)
  const words = {
    nameOf: ({ source }: ImageEntry) => source,
    faultOf: asLockFault,
    summary: 'do not answer to the lock',
  }
  const countOf = (count: number): string => `${count} of ${lock.images.length} images ${words.summary}`
  const { results: gathered, failed } = await forEachImage(lock.images, options, words, (image) =>
    gatherImage(image, options, cache, sizes),
  )
  // A lock that says otherwise than its images is not mended by trying again.
  const wrong = failed.filter(({ error }) => error.code === 'INVALID_LOCK')
  if (wrong.length > 0) throw allFailed(wrong, countOf(wrong.length))
  if (failed.length > 0) {
    throw incomplete(countOf(failed.length), failed, [
      'Nothing was written. Mend it and run the same command again, or go on without these:',
      ...excludeFlags(failed.map(({ source }) => source)),
    ])
  }

  const documents = new Map<Digest, ManifestOrIndex>()
  const configs = new Set<Digest>()
  const toFetch = new Map<Digest, BlobToFetch>()
  for (const { image, closure, evidence, referrers, repositories } of gathered) {
    for (const document of evidence) documents.set(document.digest, document)
    for (const part of [closure, ...referrers.map((referrer) => referrer.closure)]) {
      for (const [digest, document] of part.documents) documents.set(digest, document)
      for (const digest of part.configs) configs.add(digest)
      for (const [digest, descriptor] of part.blobs)
        addSource(toFetch, digest, descriptor, repositories, image)
    }
  }
  const blobs: PlannedBlob[] = [...documents.values()].map(({ digest, bytes }) => ({
    digest,
    size: bytes.length,
    first: true,
    bytes,
  }))
  for (const [digest, { descriptor }] of toFetch) {
    if (documents.has(digest)) {
      toFetch.delete(digest)
      continue
    }
    const bytes = await cache.blobIfRead(descriptor)
    if (bytes) toFetch.delete(digest)
    blobs.push({ digest, size: descriptor.size, first: configs.has(digest), bytes })
  }

  const description: BundleDescription = {
    ...options.description,
    requires: [...options.description.requires, ...requiredFeatures(lock.images)],
    platforms: lock.platforms,
    images: lock.images,
    ...(lock.skipped ? { skipped: lock.skipped } : {}),
  }
  const files = describingFiles(description, (digest) => documents.get(digest))
  const manifests = {
    count: documents.size,
    bytes: [...documents.values()].reduce((sum, { bytes }) => sum + bytes.length, 0),
  }
  return { files, blobs, toFetch, manifests, checksums: checksumsOf(files, blobs), description }
}

/** What does not come out as the lock says is told with the way out of it. */
function asLockFault(error: unknown, image: string): unknown {
  return asRegistryFault(
    error,
    image,
    'If the lock was edited or made by another release, make it again with `airgap resolve`.',
  )
}

/** The way out where a lock names what its registry has no more. */
const LOCKED = { before: 'Make the lock again with `airgap resolve`. ', pinned: '' }

interface GatheredImage {
  image: ImageEntry
  closure: Closure
  evidence: ManifestOrIndex[]
  referrers: ReferrerGraph[]
  repositories: Repository[]
}

async function gatherImage(
  image: ImageEntry,
  options: ContentsOptions,
  cache: DocumentCache,
  sizes: KnownSizes,
): Promise<GatheredImage> {
  const { all: repositories } = sourcesFor(options.client, parseReference(image.source), options.mirrors)
  const document =
    cache.peek(image.sourceDigest) ?? (await cache.fetch(image.sourceDigest, repositories, options.signal))
  cache.add(document)
  const what = image.source
  const children = new Children(document, { what, cache, repositories, signal: options.signal })
  const { load } = children
  const { delivered, evidence, platforms, closure } = await children.telling(LOCKED, async () => {
    const selection = await repeatSelection(document, image.digest, image.platforms, {
      load,
      configPlatform: cache.configPlatform(repositories, options.signal),
      what,
      lost: image.missingAttestations,
    })
    cache.add(selection.delivered)
    const { mediaType, digest, bytes } = selection.delivered
    const root = { mediaType, digest, size: bytes.length }
    return { ...selection, closure: await closureOf(root, load, what, sizes) }
  })
  const found = {
    mediaType: delivered.mediaType,
    kind: kindOf(closure),
    size: closureSize(closure),
    platforms,
  }
  const { mediaType, kind, size } = image
  const listed = {
    mediaType,
    kind,
    size,
    platforms: image.platforms.map(({ platform, digest }) => ({ platform, digest })),
  }
  if (JSON.stringify(found) !== JSON.stringify(listed)) {
    throw new AirgapError('INVALID_LOCK', `${what}: the lock describes it otherwise than the registry does`, {
      hint: `The registry gives ${JSON.stringify(found)}. Make the lock again with \`airgap resolve\`.`,
    })
  }
  const referrers = await gatherReferrers(image, closure, { ...options, load, cache, repositories, sizes })
  return { image, closure, evidence, referrers, repositories }
}

function addSource(
  toFetch: Map<Digest, BlobToFetch>,
  digest: Digest,
  descriptor: Descriptor,
  repositories: readonly Repository[],
  image: ImageEntry,
): void {
  const known = toFetch.get(digest)
  if (!known) {
    toFetch.set(digest, { descriptor, sources: [...repositories], images: [image] })
    return
  }
  if (known.images.at(-1) !== image) known.images.push(image)
  const names = new Set(known.sources.map(({ name }) => name))
  known.sources.push(...repositories.filter(({ name }) => !names.has(name)))
}
