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
import type { LoadDocument } from './graph.ts'
import {
  leavesOf,
  openedIndexes,
  platformsOfLeaves,
  platformsOfManifest,
  type ConfigPlatform,
  type Leaf,
} from './platforms.ts'

/** Stands in a derived index and names the source that it is a subset of. */
const SOURCE_DIGEST = 'dev.airgap.source.digest'

export interface SelectOptions {
  wanted: 'all' | Platform[]
  /** Whether the reference carries a digest: then workloads pin it, and it is delivered under exactly that. */
  isPinned: boolean
  rewriteDigests: boolean
  allowMissing: boolean
  load: LoadDocument
  configPlatform: ConfigPlatform
  /** Names the image in errors. */
  what: string
}

/** What a bundle delivers for a source. */
export interface Selection {
  delivered: ManifestOrIndex
  /** Indexes that are kept as evidence that what is delivered is a subset of the source. */
  evidence: Index[]
  platforms: ImagePlatform[]
  /** Wanted, but not to be had (only with `allowMissing`). */
  missing: Platform[]
}

/**
 * Applies the platform rules to a source.
 * @throws AirgapError `PLATFORM_MISSING` naming what the image has.
 */
export async function selectPlatforms(source: ManifestOrIndex, options: SelectOptions): Promise<Selection> {
  const { wanted, configPlatform } = options
  if (source.kind === 'manifest') {
    const platforms = await platformsOfManifest(source, configPlatform)
    const config = isRunnable(source) ? await configPlatform(source) : undefined
    const missing = config ? missingPlatforms(wanted, [config], options) : []
    return { delivered: source, evidence: [], platforms, missing }
  }
  const leaves = await leavesOf(source, options.load, configPlatform)
  const whole = { delivered: source, evidence: [], platforms: platformsOfLeaves(leaves) }
  const available = leaves.flatMap((leaf) => leaf.platform ?? [])
  // Nothing in it states a platform: an index of artifacts, which stays whole.
  if (wanted === 'all' || available.length === 0) return { ...whole, missing: [] }

  const missing = missingPlatforms(wanted, available, options)
  if (options.isPinned && !options.rewriteDigests) return { ...whole, missing }

  const isWanted = (leaf: Leaf): boolean =>
    leaf.platform !== undefined &&
    wanted.some((platform) => matchesPlatform(platform, leaf.platform as Platform))
  const kept = new Set<string>()
  for (const leaf of leaves) {
    if (leaf.attests === undefined && (!leaf.isSelectable || isWanted(leaf))) kept.add(leaf.descriptor.digest)
  }
  const chosen = [...kept]
  addAttestations(leaves, kept)
  const isEveryRunnable = leaves.every(
    (leaf) => leaf.attests !== undefined || kept.has(leaf.descriptor.digest),
  )
  if (isEveryRunnable) return { ...whole, missing }

  // One manifest may be listed for several platforms: the one asked for is meant.
  const listings = chosen.length === 1 ? leaves.filter((leaf) => leaf.descriptor.digest === chosen[0]) : []
  const only = listings.find(isWanted) ?? listings[0]
  if (only) {
    const delivered = await options.load(only.descriptor)
    return {
      delivered,
      evidence: openedIndexes(source, new Set([delivered.digest]), leaves),
      platforms: platformsOfLeaves([only]),
      missing,
    }
  }
  return { ...(await derive(source, kept, options)), missing }
}

/** Attestations follow the child that they describe, wherever in the index they stand. */
function addAttestations(leaves: readonly Leaf[], kept: Set<string>): void {
  for (const leaf of leaves) {
    if (leaf.attests !== undefined && kept.has(leaf.attests)) kept.add(leaf.descriptor.digest)
  }
}

/**
 * Makes the index that holds only some of a source's children: their descriptors verbatim, in source order, the
 * source's annotations and its digest, no `subject`. A nested index of which everything is kept stays as it is;
 * of another one the kept children move up.
 */
export async function derive(
  source: Index,
  kept: ReadonlySet<string>,
  options: Pick<SelectOptions, 'load' | 'configPlatform' | 'what'>,
): Promise<Omit<Selection, 'missing'>> {
  const manifests = await keptDescriptors(source, kept, options)
  const annotations: Record<string, string> = Object.create(null) as Record<string, string>
  const all = Object.entries({ ...source.annotations, [SOURCE_DIGEST]: source.digest })
  for (const [key, value] of all.toSorted(([a], [b]) => compareBytes(a, b))) annotations[key] = value
  const document = { schemaVersion: 2, mediaType: OCI_INDEX, manifests, annotations }
  const delivered = parseManifest(
    Buffer.from(JSON.stringify(document)),
    `${options.what} (derived index)`,
  ) as Index
  const leaves = await leavesOf(source, options.load, options.configPlatform)
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
  kept: ReadonlySet<string>,
  options: Pick<SelectOptions, 'load' | 'configPlatform'>,
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
    const below = await leavesOf(nested, options.load, options.configPlatform)
    const isWhole = below.length > 0 && below.every((leaf) => kept.has(leaf.descriptor.digest))
    if (isWhole) result.push(verbatim[i] ?? descriptor)
    else for (const one of await keptDescriptors(nested, kept, options, opened)) result.push(one)
  }
  return result
}

async function openNested(
  descriptor: Descriptor,
  { load }: Pick<SelectOptions, 'load'>,
): Promise<Index | undefined> {
  if (!isIndexType(descriptor.mediaType)) return undefined
  const document = await load(descriptor)
  return document.kind === 'index' ? document : undefined
}

/**
 * Finds out again what a lock's image delivers, from the source's own documents: what the lock says must come
 * out, or the lock and the source do not belong together.
 *
 * @param digest what the lock says is delivered.
 * @param listed the platforms that the lock lists for the image, with their manifests.
 */
export async function repeatSelection(
  source: ManifestOrIndex,
  digest: Digest,
  listed: readonly ImagePlatform[],
  options: Pick<SelectOptions, 'load' | 'configPlatform' | 'what'>,
): Promise<Omit<Selection, 'missing'>> {
  if (digest === source.digest) {
    const whole = await selectPlatforms(source, {
      ...options,
      wanted: 'all',
      isPinned: true,
      rewriteDigests: false,
      allowMissing: true,
    })
    return whole
  }
  if (source.kind === 'index') {
    const leaves = await leavesOf(source, options.load, options.configPlatform)
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
    const kept = new Set<string>(listed.map((one) => one.digest))
    for (const leaf of leaves) {
      if (leaf.attests === undefined && !leaf.isSelectable) kept.add(leaf.descriptor.digest)
    }
    addAttestations(leaves, kept)
    const derived = await derive(source, kept, options)
    if (derived.delivered.digest === digest) return derived
  }
  throw new AirgapError(
    'INVALID_CONTENT',
    `${options.what}: ${digest} is not what its platforms give of ${source.digest}`,
  )
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
        hint: 'Ask for a platform that it has, or leave the image out with --exclude. --allow-missing-platform is for images that have at least one of those asked for.',
      },
    )
  }
  if (!allowMissing) {
    throw new AirgapError('PLATFORM_MISSING', `${what} does not have ${names}; it has ${has}`, {
      hint: 'Use --allow-missing-platform to take what there is.',
    })
  }
  return missing
}
