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

/** How deep indexes may be nested; no real image comes close. */
export const MAX_DEPTH = 8

/**
 * Reads the manifest or index that a descriptor points to, and checks its digest. Registries and bundles each have one, so
 * that both can be walked by the same code.
 */
export type LoadDocument = (
  descriptor: Pick<Descriptor, 'digest' | 'mediaType' | 'size'>,
) => Promise<ManifestOrIndex>

/**
 * What is kept of a manifest or index: enough to find it again, but not its content. That is read again when it is needed,
 * so that the size of the documents does not decide how much memory is used.
 */
export interface DocumentNode {
  kind: ManifestOrIndex['kind']
  mediaType: string
  digest: Digest
  /** Bytes. */
  size: number
  /** The digest of its `subject`. */
  subject: Digest | undefined
  /** The config and the layers of a manifest that can be run, in its order. */
  runnable: { config: Digest; layers: Digest[] } | undefined
}

/** A config, a layer, or another blob that a manifest points to. */
export type BlobNode = Pick<Descriptor, 'digest' | 'size' | 'urls'>

/** Everything that can be reached from a root descriptor, each thing once. */
export interface Closure {
  /** Manifests and indexes, children before parents, which is the order in which registries accept them. */
  documents: Map<Digest, DocumentNode>
  /** Configs, layers and other blobs that manifests point to. */
  blobs: Map<Digest, BlobNode>
  /** The blobs among them that are configs. */
  configs: Set<Digest>
}

/** The sizes in the descriptors so far, of all images, to notice a digest with two sizes. */
export type KnownSizes = Map<Digest, number>

export function nodeOf(document: ManifestOrIndex): DocumentNode {
  const { kind, mediaType, digest, bytes, subject } = document
  const runnable =
    document.kind === 'manifest' && isRunnable(document)
      ? { config: document.config.digest, layers: document.layers.map((layer) => layer.digest) }
      : undefined
  return { kind, mediaType, digest, size: bytes.length, subject: subject?.digest, runnable }
}

/**
 * Walks the graph below `root`. No document is kept longer than it takes to go through it.
 *
 * @param what names the image in errors.
 * @param sizes gets the size of every descriptor, and may be shared by several walks.
 * @param limits counts what documents list; what `load` reads is counted by `Limits.counting`.
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

  /** Returns the children of an index, but not the document, which can be freed before they are visited. */
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

/** BuildKit's cache (`--cache-to type=registry`) is an index that lists layers, and a config of this type. */
const BUILDKIT_CACHE = 'application/vnd.buildkit.cacheconfig.v0'

/** A loader that also knows the delivered document, which no registry has if it was made here. */
export function withDelivered(load: LoadDocument, delivered: ManifestOrIndex): LoadDocument {
  return async (descriptor) => (descriptor.digest === delivered.digest ? delivered : load(descriptor))
}

type Child = Pick<Descriptor, 'digest' | 'mediaType' | 'size'>

/** How many URLs of a foreign layer are kept, and how many characters each may have. */
const MOST_URLS = 16
const LONGEST_URL = 2048

function blobNode({ digest, size, urls }: Descriptor): BlobNode {
  if (!urls || urls.length === 0) return { digest, size }
  return { digest, size, urls: urls.filter((url) => url.length <= LONGEST_URL).slice(0, MOST_URLS) }
}

/** Rejects children of an index that are neither manifest nor index: nothing says where a registry keeps them. */
export function checkChildType(
  child: Pick<Descriptor, 'digest' | 'mediaType'>,
  { manifests }: Index,
  what: string,
): void {
  if (isManifestOrIndexType(child.mediaType)) return
  if (manifests.some(({ mediaType }) => mediaType === BUILDKIT_CACHE)) {
    throw new AirgapError(
      'UNSUPPORTED_CONTENT',
      `it is not an image but a BuildKit cache: its index lists layers instead of manifests`,
      { subject: what, hint: ['It cannot be run.', { id: 'exclude-image' }] },
    )
  }
  throw new AirgapError(
    'UNSUPPORTED_CONTENT',
    `its index lists ${child.digest} of type ${JSON.stringify(child.mediaType)}, which is neither a manifest nor an index`,
    { subject: what },
  )
}

/** An image's config is read into memory by runtimes, and by us if nothing else states the platform. */
function checkConfigSize(manifest: Manifest, what: string): void {
  const { digest, size } = manifest.config
  if (!isRunnable(manifest) || size <= MAX_MANIFEST_SIZE) return
  throw new AirgapError(
    'INVALID_CONTENT',
    `the config ${digest} is stated to have ${size} bytes, but at most ${MAX_MANIFEST_SIZE} are allowed`,
    { subject: what },
  )
}

/** Remembers a descriptor's size. If a digest has two sizes, one of the descriptors is wrong. */
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

/** Bytes of everything in a closure, each thing once. */
export function closureSize(closure: Closure): number {
  const sizes = new Map<Digest, number>()
  for (const [digest, { size }] of closure.documents) sizes.set(digest, size)
  for (const [digest, blob] of closure.blobs) sizes.set(digest, blob.size)
  let total = 0
  for (const size of sizes.values()) total += size
  return total
}

/** `image` if anything in it can be run, else `artifact`. */
export function kindOf(closure: Pick<Closure, 'documents'>): 'image' | 'artifact' {
  for (const { runnable } of closure.documents.values()) if (runnable) return 'image'
  return 'artifact'
}
