import { type BundleDescription, type ImageEntry, requiredFeatures } from '../bundle/description.ts'
import type { Amount, OnEvent } from '../content/events.ts'
import { describingFiles } from '../bundle/layout.ts'
import { CHECKSUMS, MAX_CHECKSUMS, MAX_JSON_ENTRY } from '../bundle/names.ts'
import { checksumsOf, type PlannedBlob } from '../bundle/plan.ts'
import { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { type ManifestOrIndex, MAX_MANIFEST_SIZE } from '../oci/manifest.ts'
import { parseReference } from '../oci/reference.ts'
import type { RegistryClient } from '../registry/client.ts'
import type { Mirrors } from '../registry/mirrors/mirrors.ts'
import { sourcesFor } from '../registry/mirrors/sources.ts'
import type { Source } from '../content/source.ts'
import { allFailed, asRegistryFault, forEachImage, incomplete } from '../content/failures.ts'
import {
  type BlobNode,
  type Closure,
  closureOf,
  closureSize,
  type DocumentNode,
  kindOf,
  type KnownSizes,
  withDelivered,
} from '../content/graph.ts'
import { LEAVE_OUT, Limits, RunLimits, WITHOUT_REFERRERS } from '../content/limits.ts'
import {
  otherField,
  referrerEntry,
  referrerFault,
  type ReferrerGraph,
  rootsOf,
} from '../content/referrers.ts'
import type { Lock } from './lock.ts'
import { repeatSelection } from '../content/select.ts'
import { Children } from './children.ts'
import { DocumentCache, expectSources } from './sources.ts'
import { type ReferrerEntry, unrooted } from '../bundle/referrers.ts'

/** A blob to fetch, and the repositories that may have it, in the order to try. */
export interface BlobToFetch {
  descriptor: BlobNode
  sources: Source[]
  /** The images that it belongs to. */
  images: ImageEntry[]
}

/** Everything that a bundle will hold, with all digests and sizes, before any layer is fetched. */
export interface BundleContents {
  files: { name: string; bytes: Buffer }[]
  blobs: PlannedBlob[]
  toFetch: Map<Digest, BlobToFetch>
  /** The blobs that are manifests or indexes. */
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
  concurrency?: number | undefined
  cache?: DocumentCache
  signal?: AbortSignal | undefined
  onEvent?: OnEvent | undefined
}

/**
 * Reads the manifests that a lock names, by digest, and works out the bundle's contents from them.
 * @throws AirgapError if what registries have does not match the lock; it names every image concerned.
 */
export async function gatherContents(options: ContentsOptions): Promise<BundleContents> {
  const { lock } = options
  const cache = options.cache ?? new DocumentCache()
  const sizes: KnownSizes = new Map()
  const run = new RunLimits(FEWER_IMAGES)
  const references = lock.images.map(({ source }) => parseReference(source))
  expectSources(options.client, references, options.mirrors)
  const words = {
    nameOf: ({ source }: ImageEntry) => source,
    faultOf: asLockFault,
    summary: 'do not match the lock',
  }
  const countOf = (count: number): string => `${count} of ${lock.images.length} images ${words.summary}`
  const { results: gathered, failed } = await forEachImage(lock.images, options, words, (image) =>
    gatherImage(image, options, cache, sizes, run),
  )
  // If the lock does not match its images, trying again does not help.
  const wrong = failed.filter(({ error }) => error.code === 'INVALID_LOCK')
  if (wrong.length > 0) throw allFailed(wrong, countOf(wrong.length))
  if (failed.length > 0) {
    throw incomplete(countOf(failed.length), failed, [
      'Nothing was written. Fix this and run the same command again.',
      { id: 'go-on-without', images: failed.map(({ source }) => source), canSkip: false },
    ])
  }

  const documents = new Map<Digest, { node: DocumentNode; read: () => Promise<Uint8Array> }>()
  const configs = new Set<Digest>()
  const toFetch = new Map<Digest, BlobToFetch>()
  let madeBytes = 0
  for (const { image, closure, evidence, referrers, repositories, made } of gathered) {
    const add = (node: DocumentNode): void => {
      if (documents.has(node.digest)) return
      const own = made?.digest === node.digest ? made.bytes : undefined
      madeBytes += own?.length ?? 0
      if (madeBytes > MAX_MADE) throw tooManyMade()
      const read = async (): Promise<Uint8Array> =>
        own ?? (await cache.fetch(node.digest, repositories, options.signal)).bytes
      documents.set(node.digest, { node, read })
    }
    for (const node of evidence) add(node)
    for (const part of [closure, ...referrers.map((referrer) => referrer.closure)]) {
      for (const node of part.documents.values()) add(node)
      for (const digest of part.configs) configs.add(digest)
      for (const blob of part.blobs.values()) addSource(toFetch, blob, repositories, image)
    }
  }
  const blobs: PlannedBlob[] = [...documents].map(([digest, { node, read }]) => ({
    digest,
    size: node.size,
    first: true,
    read,
  }))
  for (const [digest, { descriptor, sources }] of toFetch) {
    if (documents.has(digest)) {
      toFetch.delete(digest)
      continue
    }
    const blob: PlannedBlob = { digest, size: descriptor.size, first: configs.has(digest) }
    if (cache.has(descriptor)) {
      toFetch.delete(digest)
      blob.read = () => cache.blob(descriptor, MAX_MANIFEST_SIZE, sources, options.signal)
    }
    blobs.push(blob)
  }

  const description: BundleDescription = {
    ...options.description,
    requires: [...options.description.requires, ...requiredFeatures(lock.images)],
    platforms: lock.platforms,
    images: lock.images,
    ...(lock.skipped ? { skipped: lock.skipped } : {}),
  }
  const files = describingFiles(description, (digest) => documents.get(digest)?.node)
  const checksums = checksumsOf(files, blobs)
  for (const { name, bytes } of files) requireReadable(name, bytes.length, MAX_JSON_ENTRY)
  requireReadable(CHECKSUMS, checksums.length, MAX_CHECKSUMS)
  const manifests = {
    count: documents.size,
    bytes: [...documents.values()].reduce((sum, { node }) => sum + node.size, 0),
  }
  return { files, blobs, toFetch, manifests, checksums, description }
}

/** Most bytes of the indexes that are made here for a choice of platforms. They stay in memory: no registry has them. */
const MAX_MADE = 128 * 1024 * 1024
const FEWER_IMAGES = 'Make several bundles, each with some of these images.'

function tooManyMade(): AirgapError {
  return new AirgapError(
    'USAGE',
    `the indexes that are made for a choice of platforms have more than ${MAX_MADE} bytes together, which is the limit for one bundle`,
    { hint: FEWER_IMAGES },
  )
}

/** Rejects describing files that are larger than readers accept. */
function requireReadable(name: string, size: number, most: number): void {
  if (size <= most) return
  throw new AirgapError(
    'USAGE',
    `${name} of this bundle would have ${size} bytes, but at most ${most} are allowed`,
    {
      hint: FEWER_IMAGES,
    },
  )
}

/** Adds hints to the error of an image that does not match the lock. */
function asLockFault(error: unknown, image: string): unknown {
  return asRegistryFault(error, image, [
    'If the lock was edited or comes from another release of airgap, make a new one.',
    { id: 'new-lock' },
  ])
}

/** For hints, if a lock names what the registry no longer has. */
const LOCKED = { isLocked: true, isPinned: false }

interface GatheredImage {
  image: ImageEntry
  closure: Closure
  evidence: DocumentNode[]
  referrers: ReferrerGraph[]
  repositories: Source[]
  /** The delivered index, if it was made here. */
  made: Pick<ManifestOrIndex, 'digest' | 'bytes'> | undefined
}

async function gatherImage(
  image: ImageEntry,
  options: ContentsOptions,
  cache: DocumentCache,
  sizes: KnownSizes,
  run: RunLimits,
): Promise<GatheredImage> {
  const { all: repositories } = sourcesFor(options.client, parseReference(image.source), options.mirrors)
  const what = image.source
  const limits = new Limits(run, { image: what, hint: LEAVE_OUT })
  const document = limits.read(await cache.fetch(image.sourceDigest, repositories, options.signal))
  const children = new Children(document, { what, cache, repositories, signal: options.signal })
  const load = limits.counting(children.load)
  const { delivered, evidence, platforms, closure } = await children.telling(LOCKED, async () => {
    const selection = await repeatSelection(document, image.digest, image.platforms, {
      load,
      configPlatform: cache.configPlatform(repositories, options.signal),
      what,
      lost: image.missingAttestations,
    })
    const { mediaType, digest, bytes } = selection.delivered
    const root = { mediaType, digest, size: bytes.length }
    const from = withDelivered(load, selection.delivered)
    return { ...selection, closure: await closureOf(root, from, what, sizes, limits) }
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
    throw new AirgapError('INVALID_LOCK', `what the lock says about it is not what the registry has`, {
      subject: what,
      hint: [`The registry has ${JSON.stringify(found)}.`, { id: 'new-lock' }],
    })
  }
  const referrers = await gatherReferrers(image, closure, { ...options, cache, repositories, sizes, run })
  const isMade = delivered.kind === 'index' && delivered.digest !== image.sourceDigest
  const made = isMade ? { digest: delivered.digest, bytes: delivered.bytes } : undefined
  return { image, closure, evidence, referrers, repositories, made }
}

function addSource(
  toFetch: Map<Digest, BlobToFetch>,
  descriptor: BlobNode,
  repositories: readonly Source[],
  image: ImageEntry,
): void {
  const { digest } = descriptor
  const known = toFetch.get(digest)
  if (!known) {
    toFetch.set(digest, { descriptor, sources: [...repositories], images: [image] })
    return
  }
  if (known.images.at(-1) !== image) known.images.push(image)
  const names = new Set(known.sources.map(({ name }) => name))
  known.sources.push(...repositories.filter(({ name }) => !names.has(name)))
}

interface Options {
  cache: DocumentCache
  repositories: readonly Source[]
  sizes: KnownSizes
  run: RunLimits
  signal?: AbortSignal | undefined
}

/**
 * Reads the referrers in a lock by digest, with everything that can be reached from them. Exactly these are packed,
 * whatever a registry lists by now.
 *
 * @throws AirgapError `INVALID_LOCK` if the lock does not match the documents; the registry's errors, which name the image
 *   and what is not available.
 */
async function gatherReferrers(
  image: ImageEntry,
  closure: Closure,
  options: Options,
): Promise<ReferrerGraph[]> {
  const { source, referrers = [] } = image
  const [stray] = unrooted(referrers, rootsOf(image, closure))
  if (stray) throw wrong(source, stray, `it refers to nothing in the image`)
  const gathered: ReferrerGraph[] = []
  const limits = new Limits(options.run, { image: source, of: 'referrers', hint: WITHOUT_REFERRERS })
  for (const entry of referrers) gathered.push(await gather(source, entry, limits, options))
  return gathered
}

async function gather(
  source: string,
  entry: ReferrerEntry,
  limits: Limits,
  { cache, repositories, sizes, signal }: Options,
): Promise<ReferrerGraph> {
  try {
    const document = limits.read(await cache.fetch(entry.digest, repositories, signal))
    const fault = referrerFault(document, entry)
    if (fault !== undefined) throw wrong(source, entry, fault)
    const root = { mediaType: document.mediaType, digest: document.digest, size: document.bytes.length }
    const load = limits.counting(cache.loader(repositories, signal))
    const closure = await closureOf(root, load, source, sizes, limits)
    const field = otherField(entry, referrerEntry(document, closure, entry))
    if (field !== undefined)
      throw wrong(source, entry, `its ${field} in the lock is not what the registry has`)
    return { entry, closure }
  } catch (error) {
    if (!(error instanceof AirgapError) || error.code !== 'NOT_FOUND') throw error
    const { message, problems } = error
    throw new AirgapError('NOT_FOUND', `${what(entry)} is no longer available: ${message}`, {
      subject: source,
      hint: [{ id: 'new-lock' }, 'It lists what refers to the image now.'],
      problems,
      cause: error,
    })
  }
}

function wrong(source: string, entry: ReferrerEntry, why: string): AirgapError {
  return new AirgapError('INVALID_LOCK', `${what(entry)}: ${why}`, {
    subject: source,
    hint: { id: 'new-lock' },
  })
}

function what({ digest, tag, subject }: ReferrerEntry): string {
  return tag === undefined ? `${digest}, which refers to ${subject},` : `${digest}, tagged ${tag},`
}
