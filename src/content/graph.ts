import { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import {
  childrenOf,
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

/**
 * What is kept of a manifest or an index: enough to find it again, and none of its bytes and texts. Whoever needs these
 * reads them again from where they lie, so that memory does not grow with what others have written into them.
 */
export interface DocumentNode {
  kind: ManifestOrIndex['kind']
  mediaType: string
  digest: Digest
  /** Bytes. */
  size: number
  /** What it refers to. */
  subject: Digest | undefined
  /** What a manifest that can be run consists of, in its order. */
  runnable: { config: Digest; layers: Digest[] } | undefined
}

/** A config, a layer, or whatever else a manifest points to. */
export type BlobNode = Pick<Descriptor, 'digest' | 'size' | 'urls'>

/** Everything that a root descriptor reaches, each thing once. */
export interface Closure {
  /** Manifests and indexes, children before parents: the order in which a registry takes them. */
  documents: Map<Digest, DocumentNode>
  /** Configs, layers and whatever else manifests point to. */
  blobs: Map<Digest, BlobNode>
  /** The blobs among them that are configs. */
  configs: Set<Digest>
}

/** Sizes that descriptors have given so far, over all images, to notice one digest with two sizes. */
export type KnownSizes = Map<Digest, number>

/** What is kept of a document. */
export function nodeOf(document: ManifestOrIndex): DocumentNode {
  const { kind, mediaType, digest, bytes, subject } = document
  const runnable =
    document.kind === 'manifest' && isRunnable(document)
      ? { config: document.config.digest, layers: document.layers.map((layer) => layer.digest) }
      : undefined
  return { kind, mediaType, digest, size: bytes.length, subject: subject?.digest, runnable }
}

/**
 * Walks the graph below `root`. A document is dropped as soon as it has been gone through.
 *
 * @param what names the image in errors.
 * @param sizes is filled with every size met, and may be shared by several walks.
 * @param limits counts what is listed; what `load` reads is counted by `Limits.counting`.
 * @throws AirgapError `INVALID_CONTENT`, `UNSUPPORTED_CONTENT`, and whatever `load` throws.
 */
export async function closureOf(
  root: Child,
  load: LoadDocument,
  what: string,
  sizes: KnownSizes = new Map(),
  limits?: { list(count: number): void },
): Promise<Closure> {
  const closure: Closure = { documents: new Map(), blobs: new Map(), configs: new Set() }
  const visiting = new Set<Digest>()

  /** @returns the children of an index; nothing of the document itself, which is dropped before they are visited. */
  const read = async (descriptor: Child): Promise<{ node: DocumentNode; below: Child[] }> => {
    const document = await load(descriptor)
    if (document.bytes.length !== descriptor.size) {
      throw new AirgapError(
        'INVALID_CONTENT',
        `${descriptor.digest} has ${document.bytes.length} bytes, but its descriptor says ${descriptor.size}`,
        { subject: what },
      )
    }
    const children = childrenOf(document)
    limits?.list(children.length)
    const node = nodeOf(document)
    if (document.kind === 'index') {
      for (const child of children) checkChildType(child, document, what)
      return { node, below: children.map(({ digest, mediaType, size }) => ({ digest, mediaType, size })) }
    }
    for (const blob of children) {
      noteSize(sizes, blob, what)
      if (!closure.blobs.has(blob.digest)) closure.blobs.set(blob.digest, blobNode(blob))
    }
    checkConfigSize(document, what)
    closure.configs.add(document.config.digest)
    return { node, below: [] }
  }

  const visit = async (descriptor: Child, depth: number): Promise<void> => {
    noteSize(sizes, descriptor, what)
    if (closure.documents.has(descriptor.digest) || visiting.has(descriptor.digest)) return
    if (depth > MAX_DEPTH) {
      throw new AirgapError('INVALID_CONTENT', `indexes are nested deeper than ${MAX_DEPTH} levels`, {
        subject: what,
      })
    }
    visiting.add(descriptor.digest)
    const { node, below } = await read(descriptor)
    for (const child of below) await visit(child, depth + 1)
    closure.documents.set(descriptor.digest, node)
  }

  await visit(root, 0)
  return closure
}

/** What BuildKit's cache (`--cache-to type=registry`) lists beside layers, in an index of its own kind. */
const BUILDKIT_CACHE = 'application/vnd.buildkit.cacheconfig.v0'

/** A loader that knows one document more: what is delivered may have been made here, so that nobody else has it. */
export function withDelivered(load: LoadDocument, delivered: ManifestOrIndex): LoadDocument {
  return async (descriptor) => (descriptor.digest === delivered.digest ? delivered : load(descriptor))
}

type Child = Pick<Descriptor, 'digest' | 'mediaType' | 'size'>

/** So many addresses of a foreign layer are kept, each of so many characters. */
const MOST_URLS = 16
const LONGEST_URL = 2048

function blobNode({ digest, size, urls }: Descriptor): BlobNode {
  if (!urls || urls.length === 0) return { digest, size }
  return { digest, size, urls: urls.filter((url) => url.length <= LONGEST_URL).slice(0, MOST_URLS) }
}

/** Refuses children of an index that are neither manifest nor index: nothing says where a registry keeps them. */
export function checkChildType(
  child: Pick<Descriptor, 'digest' | 'mediaType'>,
  { manifests }: Index,
  what: string,
): void {
  if (isManifestOrIndexType(child.mediaType)) return
  if (manifests.some(({ mediaType }) => mediaType === BUILDKIT_CACHE)) {
    throw new AirgapError(
      'UNSUPPORTED_CONTENT',
      `it is no image, but a build cache of BuildKit: its index lists layers where an image's lists manifests`,
      { subject: what, hint: ['Nothing can run it.', { id: 'exclude-image' }] },
    )
  }
  throw new AirgapError(
    'UNSUPPORTED_CONTENT',
    `its index lists ${child.digest} of type ${JSON.stringify(child.mediaType)}, which is neither a manifest nor an index`,
    { subject: what },
  )
}

/** An image's config is read into memory by whoever runs it, and here where nothing else states the platform. */
function checkConfigSize(manifest: Manifest, what: string): void {
  const { digest, size } = manifest.config
  if (!isRunnable(manifest) || size <= MAX_MANIFEST_SIZE) return
  throw new AirgapError(
    'INVALID_CONTENT',
    `the config ${digest} is stated to have ${size} bytes; ${MAX_MANIFEST_SIZE} is the most for its kind`,
    { subject: what },
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
    throw new AirgapError('INVALID_CONTENT', `${digest} is given two sizes, ${known} and ${size} bytes`, {
      subject: what,
    })
  }
}

/** Bytes of everything in it, each thing once. */
export function closureSize(closure: Closure): number {
  const sizes = new Map<Digest, number>()
  for (const [digest, { size }] of closure.documents) sizes.set(digest, size)
  for (const [digest, blob] of closure.blobs) sizes.set(digest, blob.size)
  let total = 0
  for (const size of sizes.values()) total += size
  return total
}

/** `image` when anything in it can be run, else `artifact`. */
export function kindOf(closure: Pick<Closure, 'documents'>): 'image' | 'artifact' {
  for (const { runnable } of closure.documents.values()) if (runnable) return 'image'
  return 'artifact'
}
