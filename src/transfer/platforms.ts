import type { ImagePlatform } from '../bundle/description.ts'
import { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import {
  attestationSubject,
  isRunnable,
  type Descriptor,
  type Index,
  type Manifest,
} from '../oci/manifest.ts'
import { isIndexType } from '../oci/media-types.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import { MAX_DEPTH, type LoadDocument } from './graph.ts'

/** Reads the platform that a manifest's own config states; undefined where it states none. */
export type ConfigPlatform = (manifest: Manifest) => Promise<Platform | undefined>

/** A child of an index with nested indexes opened: what platform rules are applied to. */
export interface Leaf {
  descriptor: Descriptor
  /** The nested indexes that lead to it, outermost first. */
  path: Index[]
  /** As its descriptor states it, or, for a runnable manifest without one, as its config does. */
  platform: Platform | undefined
  /** Whether the descriptor itself states the platform, so that platform rules may drop the child. */
  isSelectable: boolean
  /** For an attestation: the digest of the manifest that it describes. */
  attests: string | undefined
}

/** The platform that a child's own descriptor states; `unknown/unknown` is none. */
function statedPlatform(descriptor: Descriptor): Platform | undefined {
  const { platform } = descriptor
  return platform === undefined || platform.os === 'unknown' || platform.os === '' ? undefined : platform
}

/**
 * The leaves of an index, in source order, with nested indexes descended.
 * @param path the indexes that lead here.
 * @param opened nested indexes met so far: each is descended once, however often it is listed.
 */
export async function leavesOf(
  index: Index,
  load: LoadDocument,
  configPlatform: ConfigPlatform,
  path: Index[] = [],
  opened = new Set<Digest>(),
): Promise<Leaf[]> {
  const leaves: Leaf[] = []
  for (const descriptor of index.manifests) {
    if (isIndexType(descriptor.mediaType)) {
      if (opened.has(descriptor.digest)) continue
      opened.add(descriptor.digest)
      if (path.length >= MAX_DEPTH) {
        throw new AirgapError(
          'INVALID_CONTENT',
          `${descriptor.digest}: indexes are nested deeper than ${MAX_DEPTH} levels`,
        )
      }
      const nested = await load(descriptor)
      if (nested.kind === 'index') {
        // Not spread into arguments: there may be more of them than a call can take.
        for (const leaf of await leavesOf(nested, load, configPlatform, [...path, nested], opened))
          leaves.push(leaf)
      }
      continue
    }
    const stated = statedPlatform(descriptor)
    const attests = attestationSubject(descriptor)
    let platform = stated
    if (stated === undefined && attests === undefined && descriptor.platform === undefined) {
      const document = await load(descriptor)
      if (document.kind === 'manifest' && isRunnable(document)) platform = await configPlatform(document)
    }
    leaves.push({
      descriptor,
      path,
      platform: attests === undefined ? platform : undefined,
      isSelectable: stated !== undefined && attests === undefined,
      attests,
    })
  }
  return leaves
}

/** What `platforms[]` says of an index: each manifest with a platform, in source order. */
export function platformsOfLeaves(leaves: readonly Leaf[]): ImagePlatform[] {
  const result: ImagePlatform[] = []
  const seen = new Set<string>()
  for (const { platform, descriptor } of leaves) {
    if (!platform) continue
    const text = formatPlatform(platform)
    if (seen.has(`${text} ${descriptor.digest}`)) continue
    seen.add(`${text} ${descriptor.digest}`)
    result.push({ platform: text, digest: descriptor.digest })
  }
  return result
}

/**
 * What `platforms[]` says of a single manifest.
 * @param listedAs the leaf under which the source index lists it; its word goes before the config's.
 */
export async function platformsOfManifest(
  manifest: Manifest,
  configPlatform: ConfigPlatform,
  listedAs?: Leaf,
): Promise<ImagePlatform[]> {
  if (listedAs?.platform) return platformsOfLeaves([listedAs])
  if (!isRunnable(manifest)) return []
  const platform = await configPlatform(manifest)
  return platform ? [{ platform: formatPlatform(platform), digest: manifest.digest }] : []
}

/** The indexes that were opened to reach the delivered leaves: kept in the bundle as evidence. */
export function openedIndexes(
  source: Index,
  delivered: ReadonlySet<Digest>,
  leaves: readonly Leaf[],
): Index[] {
  const opened = new Map<Digest, Index>([[source.digest, source]])
  for (const leaf of leaves) {
    if (!delivered.has(leaf.descriptor.digest)) continue
    for (const index of leaf.path) if (!delivered.has(index.digest)) opened.set(index.digest, index)
  }
  return [...opened.values()]
}
