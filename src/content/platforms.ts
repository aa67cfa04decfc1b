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

/** Reads the platform from a manifest's config; undefined if it states none. */
export type ConfigPlatform = (manifest: Manifest) => Promise<Platform | undefined>

/**
 * The platform that a config states. A config that cannot be read (empty, not JSON, or ambiguous JSON) states none, and its
 * image is carried unchanged, as registries do. A config that is too large is rejected by {@link closureOf}. This rule
 * holds for packing and for verifying.
 *
 * @param read reads the config's bytes.
 * @param onUnreadable gets the reason if the config cannot be read.
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

/** A child of an index that is not an index itself, at any depth. Platform rules apply to these. */
export interface Leaf {
  descriptor: Pick<Descriptor, 'digest' | 'mediaType' | 'size'>
  /** The nested indexes that lead to it, outermost first. */
  path: DocumentNode[]
  /** From its descriptor or, for a runnable manifest whose descriptor has none, from its config. */
  platform: Platform | undefined
  /** Whether the descriptor itself states the platform, so that platform rules may drop the child. */
  isSelectable: boolean
  /** For an attestation: the digest of the manifest that it describes. */
  attests: string | undefined
}

/** The platform in a child's descriptor; `unknown/unknown` counts as none. */
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
 * The leaves of an index and its nested indexes, in source order.
 * @param path the indexes that lead here.
 * @param opened the nested indexes that were opened so far: each is opened once, however often it is listed.
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
        // No spread: there may be more of them than a call takes arguments.
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

/** The `platforms[]` of an index: each manifest with a platform, in source order. */
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

/** The indexes that lead to the delivered leaves. The bundle keeps them as evidence. */
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
