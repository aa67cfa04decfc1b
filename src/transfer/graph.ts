import { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import {
  isRunnable,
  MAX_MANIFEST_SIZE,
  type Descriptor,
  type Index,
  type Manifest,
  type ManifestOrIndex,
} from '../oci/manifest.ts'
import { isManifestOrIndexType } from '../oci/media-types.ts'

/** Deeper nesting of indexes than any real image has. */
export const MAX_DEPTH = 8

/**
 * Reads the manifest or index that a descriptor points to, checked against its digest. A registry and a bundle
 * both give one, so that the same walk serves either side.
 */
export type LoadDocument = (
  descriptor: Pick<Descriptor, 'digest' | 'mediaType' | 'size'>,
) => Promise<ManifestOrIndex>

/** Everything that a root descriptor reaches, each thing once. */
export interface Closure {
  /** Manifests and indexes, children before parents: the order in which a registry takes them. */
  documents: Map<Digest, ManifestOrIndex>
  /** Configs, layers and whatever else manifests point to. */
  blobs: Map<Digest, Descriptor>
  /** The blobs among them that are configs. */
  configs: Set<Digest>
}

/** Sizes that descriptors have given so far, over all images, to notice one digest with two sizes. */
export type KnownSizes = Map<Digest, number>

/**
 * Walks the graph below `root`.
 *
 * @param what names the image in errors.
 * @param sizes is filled with every size met, and may be shared by several walks.
 * @throws AirgapError `INVALID_CONTENT`, `UNSUPPORTED_CONTENT`, and whatever `load` throws.
 */
export async function closureOf(
  root: Pick<Descriptor, 'digest' | 'mediaType' | 'size'>,
  load: LoadDocument,
  what: string,
  sizes: KnownSizes = new Map(),
): Promise<Closure> {
  const closure: Closure = { documents: new Map(), blobs: new Map(), configs: new Set() }
  const visiting = new Set<Digest>()

  const visit = async (
    descriptor: Pick<Descriptor, 'digest' | 'mediaType' | 'size'>,
    depth: number,
  ): Promise<void> => {
    noteSize(sizes, descriptor, what)
    if (closure.documents.has(descriptor.digest) || visiting.has(descriptor.digest)) return
    if (depth > MAX_DEPTH) {
      throw new AirgapError('INVALID_CONTENT', `${what}: indexes are nested deeper than ${MAX_DEPTH} levels`)
    }
    visiting.add(descriptor.digest)
    const document = await load(descriptor)
    if (document.bytes.length !== descriptor.size) {
      throw new AirgapError(
        'INVALID_CONTENT',
        `${what}: ${descriptor.digest} has ${document.bytes.length} bytes, but its descriptor says ${descriptor.size}`,
      )
    }
    if (document.kind === 'index') {
      for (const child of document.manifests) {
        checkChildType(child, document, what)
        await visit(child, depth + 1)
      }
    } else {
      for (const blob of [document.config, ...document.layers]) {
        noteSize(sizes, blob, what)
        if (!closure.blobs.has(blob.digest)) closure.blobs.set(blob.digest, blob)
      }
      checkConfigSize(document, what)
      closure.configs.add(document.config.digest)
    }
    closure.documents.set(descriptor.digest, document)
  }

  await visit(root, 0)
  return closure
}

/** What BuildKit's cache (`--cache-to type=registry`) lists beside layers, in an index of its own kind. */
const BUILDKIT_CACHE = 'application/vnd.buildkit.cacheconfig.v0'

/** Refuses children of an index that are neither manifest nor index: nothing says where a registry keeps them. */
export function checkChildType(child: Descriptor, { manifests }: Index, what: string): void {
  if (isManifestOrIndexType(child.mediaType)) return
  if (manifests.some(({ mediaType }) => mediaType === BUILDKIT_CACHE)) {
    throw new AirgapError(
      'UNSUPPORTED_CONTENT',
      `${what}: it is no image, but a build cache of BuildKit: its index lists layers where an image's lists manifests`,
      { hint: 'Nothing can run it. Leave it out with --exclude.' },
    )
  }
  throw new AirgapError(
    'UNSUPPORTED_CONTENT',
    `${what}: its index lists ${child.digest} of type ${JSON.stringify(child.mediaType)}, which is neither a manifest nor an index`,
  )
}

/** An image's config is read into memory by whoever runs it, and here where nothing else states the platform. */
function checkConfigSize(manifest: Manifest, what: string): void {
  const { digest, size } = manifest.config
  if (!isRunnable(manifest) || size <= MAX_MANIFEST_SIZE) return
  throw new AirgapError(
    'INVALID_CONTENT',
    `${what}: the config ${digest} is stated to have ${size} bytes; ${MAX_MANIFEST_SIZE} is the most for its kind`,
  )
}

/** Remembers a descriptor's size; one digest with two sizes is a lie in one of the two places. */
function noteSize(
  sizes: KnownSizes,
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
  what: string,
): void {
  const known = sizes.get(digest)
  if (known === undefined) {
    sizes.set(digest, size)
  } else if (known !== size) {
    throw new AirgapError(
      'INVALID_CONTENT',
      `${what}: ${digest} is given two sizes, ${known} and ${size} bytes`,
    )
  }
}

/** Bytes of everything in it, each thing once. */
export function closureSize(closure: Closure): number {
  const sizes = new Map<Digest, number>()
  for (const [digest, document] of closure.documents) sizes.set(digest, document.bytes.length)
  for (const [digest, blob] of closure.blobs) sizes.set(digest, blob.size)
  let total = 0
  for (const size of sizes.values()) total += size
  return total
}

/** `image` when anything in it can be run, else `artifact`. */
export function kindOf(closure: Pick<Closure, 'documents'>): 'image' | 'artifact' {
  for (const document of closure.documents.values()) {
    if (document.kind === 'manifest' && isRunnable(document)) return 'image'
  }
  return 'artifact'
}
