import type { ImagePlatform } from '../bundle/description.ts'
import { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { compareBytes } from '../oci/json.ts'
import {
  isRunnable,
  listedVerbatim,
  parseManifest,
  type Descriptor,
  type Index,
  type ManifestOrIndex,
} from '../oci/manifest.ts'
import { isIndexType, OCI_INDEX } from '../oci/media-types.ts'
import { formatPlatform, matchesPlatform, normalizePlatform, type Platform } from '../oci/platform.ts'
import type { DocumentNode } from './graph.ts'
import { leavesOf, openedIndexes, platformsOfLeaves, type Leaf, type Reading } from './platforms.ts'

/** The annotation of a derived index that names the source it is a subset of. */
const SOURCE_DIGEST = 'dev.airgap.source.digest'

export interface SelectOptions extends Reading {
  wanted: 'all' | Platform[]
  /** Whether the reference has a digest. Then workloads pin it, and the image is delivered under exactly that digest. */
  isPinned: boolean
  rewriteDigests: boolean
  allowMissing: boolean
  /** Leave out attestations that are listed but cannot be fetched. */
  allowMissingAttestations?: boolean
}

/** What a bundle delivers for a source. */
export interface Selection {
  delivered: ManifestOrIndex
  /** Indexes that show that what is delivered is a subset of the source. */
  evidence: DocumentNode[]
  platforms: ImagePlatform[]
  /** Wanted platforms that the source lacks (only with `allowMissing`). */
  missing: Platform[]
  /** Attestations of what is delivered that could not be fetched (only with `allowMissingAttestations`), sorted. */
  lost: Digest[]
}

type Subset = Omit<Selection, 'missing' | 'lost'>

/**
 * Applies the platform rules to a source.
 * @throws AirgapError `PLATFORM_MISSING`, which names the platforms that the image has.
 */
export async function selectPlatforms(source: ManifestOrIndex, options: SelectOptions): Promise<Selection> {
  const { wanted, configPlatform } = options
  if (source.kind === 'manifest') {
    const config = isRunnable(source) ? await configPlatform(source) : undefined
    const platforms = config ? [{ platform: formatPlatform(config), digest: source.digest }] : []
    const missing = config ? missingPlatforms(wanted, [config], options) : []
    return { delivered: source, evidence: [], platforms, missing, lost: [] }
  }
  const leaves = await leavesOf(source, options)
  const whole = { delivered: source, evidence: [], platforms: platformsOfLeaves(leaves), lost: [] }
  const available = leaves.flatMap((leaf) => leaf.platform ?? [])
  // An index without any platform holds artifacts: all of them are wanted.
  const isAllWanted = wanted === 'all' || available.length === 0
  const missing = isAllWanted ? [] : missingPlatforms(wanted, available, options)
  if (options.isPinned && !options.rewriteDigests) return { ...whole, missing }

  const isWanted = (leaf: Leaf): boolean =>
    isAllWanted ||
    (leaf.platform !== undefined &&
      wanted.some((platform) => matchesPlatform(platform, leaf.platform as Platform)))
  const kept = new Set<Digest>()
  for (const leaf of leaves) {
    if (leaf.attests === undefined && (!leaf.isSelectable || isWanted(leaf))) kept.add(leaf.descriptor.digest)
  }
  const chosen = [...kept]
  addAttestations(leaves, kept)
  const isEveryRunnable = leaves.every(
    (leaf) => leaf.attests !== undefined || kept.has(leaf.descriptor.digest),
  )
  // A single manifest is delivered without the index, and attestations belong to the index.
  const mayLose = options.allowMissingAttestations === true && (isEveryRunnable || chosen.length > 1)
  const lost = mayLose ? await attestationsLost(leaves, kept, options) : []
  if (isEveryRunnable && lost.length === 0) return { ...whole, missing }
  for (const digest of lost) kept.delete(digest)

  // A manifest may be listed for several platforms: take the one that was asked for.
  const listings = chosen.length === 1 ? leaves.filter((leaf) => leaf.descriptor.digest === chosen[0]) : []
  const only = listings.find(isWanted) ?? listings[0]
  if (only) {
    const delivered = await options.load(only.descriptor)
    return {
      delivered,
      evidence: openedIndexes(source, new Set([delivered.digest]), leaves),
      platforms: platformsOfLeaves([only]),
      missing,
      lost,
    }
  }
  return { ...(await derive(source, kept, options)), missing, lost }
}

/** Whether the error says that a registry does not have, or does not give, what its index lists. */
export function isNotServed(error: unknown): boolean {
  return error instanceof AirgapError && (error.code === 'NOT_FOUND' || error.code === 'DENIED')
}

async function attestationsLost(
  leaves: readonly Leaf[],
  kept: ReadonlySet<Digest>,
  { load }: Reading,
): Promise<Digest[]> {
  const lost = new Set<Digest>()
  for (const { attests, descriptor } of leaves) {
    if (attests === undefined || !kept.has(descriptor.digest)) continue
    try {
      await load(descriptor)
    } catch (error) {
      if (!isNotServed(error)) throw error
      lost.add(descriptor.digest)
    }
  }
  return [...lost].toSorted(compareBytes)
}

/** Keeps the attestations of kept children, wherever the index lists them. */
function addAttestations(leaves: readonly Leaf[], kept: Set<string>): void {
  for (const leaf of leaves) {
    if (leaf.attests !== undefined && kept.has(leaf.attests)) kept.add(leaf.descriptor.digest)
  }
}

/**
 * Makes an index with only some of a source's children: their descriptors verbatim and in source order, the source's
 * annotations and its digest, and no `subject`. A nested index stays as it is if all its children are kept; else the kept
 * ones move up.
 */
export async function derive(source: Index, kept: ReadonlySet<Digest>, options: Reading): Promise<Subset> {
  const manifests = await keptDescriptors(source, kept, options)
  const annotations: Record<string, string> = Object.create(null) as Record<string, string>
  const all = Object.entries({ ...source.annotations, [SOURCE_DIGEST]: source.digest })
  for (const [key, value] of all.toSorted(([a], [b]) => compareBytes(a, b))) annotations[key] = value
  const document = { schemaVersion: 2, mediaType: OCI_INDEX, manifests, annotations }
  const delivered = parseManifest(
    Buffer.from(JSON.stringify(document)),
    `${options.what} (derived index)`,
  ) as Index
  const leaves = await leavesOf(source, options)
  const keptLeaves = leaves.filter(({ descriptor }) => kept.has(descriptor.digest))
  const digests = new Set<Digest>(
    [...keptLeaves.map(({ descriptor }) => descriptor), ...delivered.manifests].map(({ digest }) => digest),
  )
  return {
    delivered,
    evidence: openedIndexes(source, digests, leaves),
    platforms: platformsOfLeaves(keptLeaves),
  }
}

async function keptDescriptors(
  index: Index,
  kept: ReadonlySet<Digest>,
  options: Reading,
  opened = new Set<Digest>(),
): Promise<object[]> {
  const result: object[] = []
  const verbatim = listedVerbatim(index)
  for (const [i, descriptor] of index.manifests.entries()) {
    if (kept.has(descriptor.digest)) {
      result.push(verbatim[i] ?? descriptor)
      continue
    }
    const nested = opened.has(descriptor.digest) ? undefined : await openNested(descriptor, options)
    if (!nested) continue
    opened.add(nested.digest)
    const below = await leavesOf(nested, options)
    const isWhole = below.length > 0 && below.every((leaf) => kept.has(leaf.descriptor.digest))
    if (isWhole) result.push(verbatim[i] ?? descriptor)
    else for (const one of await keptDescriptors(nested, kept, options, opened)) result.push(one)
  }
  return result
}

async function openNested(descriptor: Descriptor, { load }: Reading): Promise<Index | undefined> {
  if (!isIndexType(descriptor.mediaType)) return undefined
  const document = await load(descriptor)
  return document.kind === 'index' ? document : undefined
}

/**
 * Repeats, from the source's own documents, the selection that a lock records for an image. The result must be what the
 * lock says, or the lock and the source do not belong together.
 *
 * @param digest what is delivered according to the lock.
 * @param listed the platforms that the lock lists for the image, with their manifests.
 * @param options `lost` are the attestations that could not be fetched according to the lock.
 * @throws AirgapError `INVALID_CONTENT` if the result is another one.
 */
export async function repeatSelection(
  source: ManifestOrIndex,
  digest: Digest,
  listed: readonly ImagePlatform[],
  { lost = [], ...options }: Reading & { lost?: readonly Digest[] | undefined },
): Promise<Subset> {
  const notGiven = (): AirgapError =>
    new AirgapError('INVALID_CONTENT', `${digest} is not what its platforms select from ${source.digest}`, {
      subject: options.what,
    })
  if (digest === source.digest) {
    // Nothing can be missing if the whole source is delivered.
    if (lost.length > 0) throw notGiven()
    return selectPlatforms(source, {
      ...options,
      wanted: 'all',
      isPinned: true,
      rewriteDigests: false,
      allowMissing: true,
    })
  }
  if (source.kind === 'manifest') throw notGiven()
  const leaves = await leavesOf(source, options)
  const isAttestation = (one: Digest): boolean =>
    leaves.some(({ attests, descriptor }) => attests !== undefined && descriptor.digest === one)
  if (!lost.every(isAttestation)) throw notGiven()
  const listings = leaves.filter((leaf) => leaf.descriptor.digest === digest)
  const isListed = ({ platform }: Leaf): boolean =>
    platform !== undefined && listed.some((one) => one.platform === formatPlatform(platform))
  const child = listings.find(isListed) ?? listings[0]
  if (child) {
    const delivered = await options.load(child.descriptor)
    return {
      delivered,
      evidence: openedIndexes(source, new Set([digest]), leaves),
      platforms: platformsOfLeaves([child]),
    }
  }
  const kept = new Set<Digest>(listed.map((one) => one.digest))
  for (const leaf of leaves) {
    if (leaf.attests === undefined && !leaf.isSelectable) kept.add(leaf.descriptor.digest)
  }
  addAttestations(leaves, kept)
  for (const one of lost) kept.delete(one)
  const derived = await derive(source, kept, options)
  if (derived.delivered.digest !== digest) throw notGiven()
  return derived
}

function missingPlatforms(
  wanted: 'all' | Platform[],
  available: readonly Platform[],
  { allowMissing, what }: SelectOptions,
): Platform[] {
  if (wanted === 'all') return []
  const missing = wanted.filter((platform) => !available.some((have) => matchesPlatform(platform, have)))
  if (missing.length === 0) return []
  const names = missing.map(formatPlatform).join(', ')
  const has = [...new Set(available.map((platform) => formatPlatform(normalizePlatform(platform))))].join(
    ', ',
  )
  if (missing.length === wanted.length) {
    throw new AirgapError(
      'PLATFORM_MISSING',
      `${what} has none of the platforms asked for (${names}); it has ${has}`,
      {
        hint: ['Choose a platform that it has, or do without the image.', { id: 'exclude-image' }],
      },
    )
  }
  if (!allowMissing) {
    throw new AirgapError('PLATFORM_MISSING', `${what} does not have ${names}; it has ${has}`, {
      hint: { id: 'allow-missing-platform' },
    })
  }
  return missing
}
