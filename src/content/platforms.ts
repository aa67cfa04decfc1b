import type { ImagePlatform } from '../bundle/description.ts'
import { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import {
  attestationSubject,
  isRunnable,
  platformOfConfig,
  type Descriptor,
  type Index,
  type Manifest,
} from '../oci/manifest.ts'
import { isIndexType } from '../oci/media-types.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import { checkChildType, MAX_DEPTH, nodeOf, type DocumentNode, type LoadDocument } from './graph.ts'

/** Reads the platform that a manifest's own config states; undefined where it states none. */
export type ConfigPlatform = (manifest: Manifest) => Promise<Platform | undefined>

/**
 * The one rule for configs, wherever their image hangs and on both sides: one that cannot be read as JSON with a platform
 * (empty, not JSON, JSON that readers take differently) states none. Its image is carried as it is, as registries carry
 * it. One that is too large is refused by {@link closureOf}.
 *
 * @param read reads the config's bytes.
 * @param onUnreadable is told why it could not be read.
 * @throws AirgapError what `read` throws.
 */
export async function statedByConfig(
  { digest }: Pick<Descriptor, 'digest'>,
  read: () => Promise<Uint8Array>,
  onUnreadable?: (reason: string) => void,
): Promise<Platform | undefined> {
  const bytes = await read()
  try {
    return platformOfConfig(bytes, `its config ${digest} cannot be read`)
  } catch (error) {
    if (!(error instanceof AirgapError) || error.code !== 'INVALID_CONTENT') throw error
    onUnreadable?.(error.message)
    return undefined
  }
}

/** A child of an index with nested indexes opened: what platform rules are applied to. */
export interface Leaf {
  descriptor: Pick<Descriptor, 'digest' | 'mediaType' | 'size'>
  /** The nested indexes that lead to it, outermost first. */
  path: DocumentNode[]
  /** As its descriptor states it, or, for a runnable manifest without one, as its config does. */
  platform: Platform | undefined
  /** Whether the descriptor itself states the platform, so that platform rules may drop the child. */
  isSelectable: boolean
  /** For an attestation: the digest of the manifest that it describes. */
  attests: string | undefined
}

/** The platform that a child's own descriptor states; `unknown/unknown` is none. */
export function statedPlatform(descriptor: Descriptor): Platform | undefined {
  const { platform } = descriptor
  if (platform === undefined || platform.os === 'unknown' || platform.os === '') return undefined
  const { os, architecture, variant, 'os.version': version } = platform
  return { os, architecture, variant, 'os.version': version }
}

/** How documents and configs are read. */
export interface Reading {
  load: LoadDocument
  configPlatform: ConfigPlatform
  /** Names the image in errors. */
  what: string
}

/**
 * The leaves of an index, in source order, with nested indexes descended.
 * @param path the indexes that lead here.
 * @param opened nested indexes met so far: each is descended once, however often it is listed.
 */
export async function leavesOf(
  index: Index,
  reading: Reading,
  path: DocumentNode[] = [],
  opened = new Set<Digest>(),
): Promise<Leaf[]> {
  const { load, configPlatform, what } = reading
  const leaves: Leaf[] = []
  for (const descriptor of index.manifests) {
    if (isIndexType(descriptor.mediaType)) {
      if (opened.has(descriptor.digest)) continue
      opened.add(descriptor.digest)
      if (path.length >= MAX_DEPTH) {
        throw new AirgapError('INVALID_CONTENT', `indexes are nested deeper than ${MAX_DEPTH} levels`, {
          subject: what,
        })
      }
      const nested = await load(descriptor)
      if (nested.kind === 'index') {
        // Not spread into arguments: there may be more of them than a call can take.
        for (const leaf of await leavesOf(nested, reading, [...path, nodeOf(nested)], opened))
          leaves.push(leaf)
      }
      continue
    }
    const stated = statedPlatform(descriptor)
    const attests = attestationSubject(descriptor)
    let platform = stated
    if (stated === undefined && attests === undefined && descriptor.platform === undefined) {
      checkChildType(descriptor, index, what)
      const document = await load(descriptor)
      if (document.kind === 'manifest' && isRunnable(document)) platform = await configPlatform(document)
    }
    const { digest, mediaType, size } = descriptor
    leaves.push({
      descriptor: { digest, mediaType, size },
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

/** The indexes that were opened to reach the delivered leaves: kept in the bundle as evidence. */
export function openedIndexes(
  source: Index,
  delivered: ReadonlySet<Digest>,
  leaves: readonly Leaf[],
): DocumentNode[] {
  const opened = new Map<Digest, DocumentNode>([[source.digest, nodeOf(source)]])
  for (const leaf of leaves) {
    if (!delivered.has(leaf.descriptor.digest)) continue
    for (const index of leaf.path) if (!delivered.has(index.digest)) opened.set(index.digest, index)
  }
  return [...opened.values()]
}
