import { describingFiles } from '../bundle/layout.ts'
import type { BundleDescription, ImageEntry } from '../bundle/description.ts'
import { blobName, DESCRIPTION, DOCKER_MANIFEST_LIST, INDEX, MAX_JSON_ENTRY } from '../bundle/names.ts'
import { AirgapError, type Problem } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { type ManifestOrIndex, MAX_MANIFEST_SIZE, parseManifest } from '../oci/manifest.ts'
import { isIndexType } from '../oci/media-types.ts'
import { ParsedDocuments } from '../content/documents.ts'
import {
  type Closure,
  closureOf,
  closureSize,
  type DocumentNode,
  kindOf,
  type KnownSizes,
  type LoadDocument,
} from '../content/graph.ts'
import { Limits, RunLimits } from '../content/limits.ts'
import { type ConfigPlatform, statedByConfig } from '../content/platforms.ts'
import { repeatSelection } from '../content/select.ts'
import { asProblem, type ImageGraph, type OpenedBundle, readChecked } from './opened-bundle.ts'
import { type ReferrerEntry, unrooted } from '../bundle/referrers.ts'
import {
  otherField,
  referrerEntry,
  referrerFault,
  type ReferrerGraph,
  rootsOf,
} from '../content/referrers.ts'

export interface Walk {
  images: ImageGraph[]
  /** The images that cannot be walked, by the missing or altered entry that is the reason. */
  faulty: Map<string, string[]>
  /** The size of each blob, from its descriptors. */
  sizes: KnownSizes
  /** Every blob that an image delivers or that is kept as evidence. */
  needed: Set<Digest>
  /** The blobs of the first group: manifests, indexes, configs. */
  first: Set<Digest>
  /** Whether every image could be walked. */
  isComplete: boolean
}

/**
 * Step 5 of the verification: walks the graphs of the images in the description, and builds `index.json`, `manifest.json`
 * and `oci-layout` again to compare their bytes.
 */
export async function walkImages(
  opened: OpenedBundle,
  description: BundleDescription,
  signal?: AbortSignal,
): Promise<Walk> {
  const { problems } = opened
  const documents = new BundleDocuments(opened, signal)
  const sizes: KnownSizes = new Map()
  const checked = new Set<Digest>()
  const run = new RunLimits()
  const lookup = new Map<Digest, DocumentNode>()
  const walk: Walk = {
    images: [],
    faulty: new Map(),
    sizes,
    needed: new Set(),
    first: new Set(),
    isComplete: true,
  }

  /** The entries that have problems; `seen` problems are included so far. */
  const noted = new Set<string>()
  let seen = 0

  for (const image of description.images) {
    try {
      const { closure, evidence } = await walkImage(image, documents, sizes, run)
      const referrers = await walkReferrers(image, closure, documents, { sizes, run })
      for (const { digest } of evidence) need(walk, [digest], [])
      for (const [digest, node] of closure.documents) lookup.set(digest, node)
      for (const part of [closure, ...referrers.map((referrer) => referrer.closure)]) {
        checkBlobs(part, opened, checked)
        need(walk, [...part.documents.keys(), ...part.configs], part.blobs.keys())
      }
      walk.images.push({ image, closure, evidence, referrers })
    } catch (error) {
      walk.isComplete = false
      if (!(error instanceof EntryFault)) {
        problems.push(asProblem(image.source, error))
        continue
      }
      const faulty = walk.faulty.get(error.entry)
      if (faulty) faulty.push(image.source)
      else walk.faulty.set(error.entry, [image.source])
      // A faulty entry is reported once, under its own name, however many images need it.
      for (; seen < problems.length; seen += 1) noted.add(problems[seen]?.entry ?? '')
      const isSaid = noted.has(error.entry)
      const isCutOff = opened.cutOff !== undefined && !opened.entries.has(error.entry)
      if (!isSaid && !isCutOff) problems.push({ entry: image.source, message: error.message })
    }
  }
  if (walk.isComplete) await compareDescribingFiles(opened, description, lookup)
  return walk
}

function need(walk: Walk, first: Iterable<Digest>, others: Iterable<Digest>): void {
  for (const digest of first) {
    walk.first.add(digest)
    walk.needed.add(digest)
  }
  for (const digest of others) walk.needed.add(digest)
}

/** An entry that cannot be used. Its problem may have been reported when it was read. */
class EntryFault extends Error {
  readonly entry: string

  constructor(entry: string) {
    super(`${entry} is missing or altered`)
    this.entry = entry
  }
}

/** Reads a bundle's manifests, indexes and configs. Reports the problem of a faulty one only once. */
class BundleDocuments {
  readonly #opened: OpenedBundle
  readonly #signal: AbortSignal | undefined
  readonly #parsed = new ParsedDocuments()
  readonly #broken = new Set<Digest>()

  constructor(opened: OpenedBundle, signal: AbortSignal | undefined) {
    this.#opened = opened
    this.#signal = signal
  }

  /** An entry's size in bytes; 0 if it is missing. */
  sizeOf(digest: Digest): number {
    return this.#opened.entries.get(blobName(digest))?.size ?? 0
  }

  load: LoadDocument = async ({ digest, mediaType }) => {
    const known = this.#parsed.get(digest)
    if (!known) return this.#parse(digest, mediaType)
    if (known.mediaType === mediaType) return known
    throw new AirgapError(
      'INVALID_CONTENT',
      `${blobName(digest)} is of type ${known.mediaType}, but a descriptor says ${mediaType}`,
    )
  }

  /**
   * For repeating the selection of platforms. A nested index of which nothing was selected need not be in the bundle; then
   * it counts as empty. What is delivered is walked with `load`.
   */
  loadOfSource: LoadDocument = async (descriptor) => {
    const { digest, mediaType } = descriptor
    if (isIndexType(mediaType) && !this.#opened.checksums.has(blobName(digest))) {
      return { kind: 'index', mediaType, digest, bytes: Buffer.alloc(0), manifests: [] }
    }
    return this.load(descriptor)
  }

  /** Loads a document whose media type no descriptor states, such as a source index kept as evidence. */
  async loadUntyped(digest: Digest): Promise<ManifestOrIndex> {
    return this.#parsed.get(digest) ?? this.#parse(digest)
  }

  configPlatform: ConfigPlatform = ({ config }) => statedByConfig(config, () => this.#bytes(config.digest))

  async #parse(digest: Digest, mediaType?: string): Promise<ManifestOrIndex> {
    const document = parseManifest(await this.#bytes(digest), blobName(digest), mediaType)
    this.#parsed.add(document)
    return document
  }

  async #bytes(digest: Digest): Promise<Buffer> {
    this.#signal?.throwIfAborted()
    const name = blobName(digest)
    const bytes = this.#broken.has(digest)
      ? undefined
      : await readChecked(this.#opened, name, MAX_MANIFEST_SIZE)
    if (bytes) return bytes
    this.#broken.add(digest)
    throw new EntryFault(name)
  }
}

async function walkImage(
  image: ImageEntry,
  documents: BundleDocuments,
  sizes: KnownSizes,
  run: RunLimits,
): Promise<{ closure: Closure; evidence: DocumentNode[] }> {
  const what = image.source
  const limits = new Limits(run)
  const load = limits.counting(documents.load)
  const source =
    image.digest === image.sourceDigest
      ? await load({ digest: image.digest, mediaType: image.mediaType, size: documents.sizeOf(image.digest) })
      : limits.read(await documents.loadUntyped(image.sourceDigest))
  const selection = await repeatSelection(source, image.digest, image.platforms, {
    load: limits.counting(documents.loadOfSource),
    configPlatform: documents.configPlatform,
    what,
    lost: image.missingAttestations ?? [],
  })
  const { delivered } = selection
  // Walk the index in the file, not the one that we derived again: it has to be there.
  const root = {
    mediaType: image.mediaType,
    digest: delivered.digest,
    size: documents.sizeOf(delivered.digest),
  }
  const closure = await closureOf(root, load, what, sizes, limits)

  const fail = (field: string, says: unknown, is: unknown): never => {
    throw new AirgapError(
      'INVALID_CONTENT',
      `${DESCRIPTION}: ${what}: ${field} says ${JSON.stringify(says)}, but by its content it is ${JSON.stringify(is)}`,
    )
  }
  const kind = kindOf(closure)
  if (kind !== image.kind) fail('kind', image.kind, kind)
  const size = closureSize(closure)
  if (size !== image.size) fail('size', image.size, size)
  const says = image.platforms.map(({ platform, digest }) => `${platform} ${digest}`)
  const is = selection.platforms.map(({ platform, digest }) => `${platform} ${digest}`)
  if (JSON.stringify(says) !== JSON.stringify(is)) fail('platforms', says, is)
  return { closure, evidence: selection.evidence }
}

/**
 * Checks that each blob that the manifests point to is in the bundle, with the right size.
 * @param checked blobs that were checked before, for other images; this adds to it.
 */
function checkBlobs(
  closure: Closure,
  { entries, checksums, problems }: OpenedBundle,
  checked: Set<Digest>,
): void {
  for (const [digest, { size }] of closure.blobs) {
    if (checked.has(digest)) continue
    checked.add(digest)
    const name = blobName(digest)
    const entry = entries.get(name)
    if (!checksums.has(name)) {
      problems.push({ entry: name, message: 'it is needed, but the bundle does not have it' })
    } else if (entry && entry.size !== size) {
      problems.push({ entry: name, message: `it has ${entry.size} bytes, but its manifest says ${size}` })
    }
  }
}

async function compareDescribingFiles(
  opened: OpenedBundle,
  description: BundleDescription,
  documents: ReadonlyMap<Digest, DocumentNode>,
): Promise<void> {
  const expected = describingFiles(description, (digest) => documents.get(digest))
  const named = new Map(expected.map(({ name, bytes }) => [name, bytes]))
  for (const [name, bytes] of named) {
    if (name === DESCRIPTION) continue
    if (name === DOCKER_MANIFEST_LIST && !opened.checksums.has(name)) {
      opened.problems.push({
        entry: name,
        message: `it is missing, although ${DESCRIPTION} names images that Docker can load`,
      })
      continue
    }
    const actual = await readChecked(opened, name, MAX_JSON_ENTRY)
    if (actual && !actual.equals(bytes)) opened.problems.push(disagreement(name))
  }
  if (opened.checksums.has(DOCKER_MANIFEST_LIST) && !named.has(DOCKER_MANIFEST_LIST)) {
    opened.problems.push(disagreement(DOCKER_MANIFEST_LIST))
  }
}

function disagreement(name: string): Problem {
  const what =
    name === INDEX || name === DOCKER_MANIFEST_LIST ? `with the images in ${DESCRIPTION}` : 'with the format'
  return {
    entry: name,
    message: `it does not agree ${what}: other tools would find other content in this bundle`,
  }
}

/** Where the documents are read from. */
interface Documents {
  load: LoadDocument
  loadUntyped(digest: Digest): Promise<ManifestOrIndex>
}

/**
 * Step 5 of the verification, for the referrers of an image. Each listed referrer has to be there with everything that it
 * reaches, has to match its entry, and has to refer to this image, directly or through another listed one. Nothing may
 * be listed that the image itself contains.
 *
 * @throws AirgapError `INVALID_CONTENT`, and whatever loading throws.
 */
async function walkReferrers(
  image: ImageEntry,
  closure: Closure,
  documents: Documents,
  { sizes, run }: { sizes: KnownSizes; run: RunLimits },
): Promise<ReferrerGraph[]> {
  const { source, referrers = [] } = image
  const [stray] = unrooted(referrers, rootsOf(image, closure))
  if (stray) throw fault(source, stray, 'refers to nothing in the image')
  const graphs: ReferrerGraph[] = []
  const limits = new Limits(run, { of: 'referrers' })
  const load = limits.counting(documents.load)
  for (const entry of referrers) {
    if (entry.tag === undefined && closure.documents.has(entry.digest))
      throw fault(source, entry, 'is already part of the image')
    const document = limits.read(await documents.loadUntyped(entry.digest))
    const wrong = referrerFault(document, entry)
    if (wrong !== undefined) throw fault(source, entry, `is not what the list says: ${wrong}`)
    const root = { mediaType: document.mediaType, digest: document.digest, size: document.bytes.length }
    const below = await closureOf(root, load, source, sizes, limits)
    const field = otherField(entry, referrerEntry(document, below, entry))
    if (field !== undefined) throw fault(source, entry, `has another ${field} in its own manifest`)
    graphs.push({ entry, closure: below })
  }
  return graphs
}

function fault(source: string, { digest, tag }: ReferrerEntry, what: string): AirgapError {
  const name = tag === undefined ? digest : `${digest} (${tag})`
  return new AirgapError('INVALID_CONTENT', `${DESCRIPTION}: ${source}: referrers: ${name} ${what}`)
}
