import type { Digest } from '../oci/digest.ts'
import { type Descriptor, type Manifest, type ManifestOrIndex, referrerOf } from '../oci/manifest.ts'
import { parseCosignTag, withLayers } from '../oci/cosign.ts'
import { AirgapError } from '../errors.ts'
import { readDocument, type OpenedBundle } from '../verify/opened-bundle.ts'
import type { DocumentNode } from '../content/graph.ts'
import type { ReferrerGraph } from '../content/referrers.ts'
import type { StoredBlob } from './registry/store.ts'
import { namespaceOf, type ServedImage } from './names.ts'

/** One repository of a source registry, with the content that all bundles have of it. */
export interface SourceRepository {
  namespace: string
  repository: string
  fullName: string | undefined
  tags: Map<string, Digest>
  documents: Map<Digest, DocumentNode & { opened: OpenedBundle }>
  /** Manifests made here, which merge what several bundles have under one cosign tag. */
  made: Map<Digest, Manifest>
  blobs: Set<Digest>
  /** Referrers, by the digest of their subject. */
  referrers: Map<Digest, Descriptor[]>
  /** The cosign tags of the images' referrers. */
  attached: Map<string, Digest>
}

/** Finds the bytes of a blob in one of the bundles. */
export type FindBlob = (digest: Digest) => Promise<StoredBlob | undefined>

/** The most bytes held in memory beside the graphs: annotations of referrers, and manifests made here. */
const MAX_HELD = 64 * 1024 * 1024

/**
 * Groups images by their source repository.
 * @throws AirgapError `VERIFICATION_FAILED` if the referrers would fill the memory; what {@link readDocument} throws.
 */
export async function sourceRepositories(images: readonly ServedImage[]): Promise<SourceRepository[]> {
  const found = new Map<string, SourceRepository>()
  let held = 0
  const hold = ({ source, bundle }: ServedImage, bytes: number): void => {
    held += bytes
    if (held <= MAX_HELD) return
    throw new AirgapError(
      'VERIFICATION_FAILED',
      `${source} in ${bundle}: the referrers of the images have more than ${MAX_HELD / 1024 / 1024} MiB of annotations, the most that can be served`,
      {
        hint: 'No genuine bundle comes near that: find out who made it. Serving fewer bundles at a time needs less.',
      },
    )
  }
  for (const image of images) {
    const namespace = namespaceOf(image.registry)
    const key = `${namespace}/${image.repository}`
    let repository = found.get(key)
    if (!repository) {
      repository = {
        namespace,
        repository: image.repository,
        fullName: image.fullName,
        tags: new Map(),
        documents: new Map(),
        made: new Map(),
        blobs: new Set(),
        referrers: new Map(),
        attached: new Map(),
      }
      found.set(key, repository)
    }
    repository.tags.set(image.tag, image.digest)
    const { closure, evidence } = image.graph
    const place = { repository, image, hold: (bytes: number) => hold(image, bytes) }
    for (const document of [...closure.documents.values(), ...evidence]) await add(place, document)
    for (const digest of closure.blobs.keys()) repository.blobs.add(digest)
    for (const referrer of image.graph.referrers) await attach(place, referrer)
  }
  return [...found.values()]
}

interface Place {
  repository: SourceRepository
  image: ServedImage
  hold: (bytes: number) => void
}

async function attach(place: Place, { entry, closure }: ReferrerGraph): Promise<void> {
  const { repository, image } = place
  for (const document of closure.documents.values()) await add(place, document)
  for (const digest of closure.blobs.keys()) repository.blobs.add(digest)
  const { tag } = entry
  if (tag === undefined) return
  const known = repository.attached.get(tag)
  if (known === undefined || known === entry.digest) {
    if (repository.documents.get(entry.digest)?.kind === 'manifest')
      repository.attached.set(tag, entry.digest)
    return
  }
  // Bundles packed at different times can have different signatures of an image, so merge them. Not SBOMs: cosign expects
  // only one.
  if (parseCosignTag(tag)?.kind === 'sbom') return
  const before = repository.made.get(known) ?? (await read(repository, known))
  const now = await readDocument(image.opened, { digest: entry.digest, mediaType: entry.mediaType })
  if (before?.kind !== 'manifest' || now.kind !== 'manifest') return
  const document = withLayers(before, now.layers)
  if (document !== before) {
    place.hold(document.bytes.length)
    repository.made.set(document.digest, document)
    if (document.subject) refer(place, document.subject.digest, document)
  }
  repository.attached.set(tag, document.digest)
}

/** Reads a document of the repository from its bundle. */
async function read(repository: SourceRepository, digest: Digest): Promise<ManifestOrIndex | undefined> {
  const found = repository.documents.get(digest)
  return found && readDocument(found.opened, found)
}

async function add(place: Place, document: DocumentNode): Promise<void> {
  const { repository, image } = place
  const { documents } = repository
  if (documents.has(document.digest)) return
  documents.set(document.digest, { ...document, opened: image.opened })
  if (document.subject === undefined) return
  refer(place, document.subject, await readDocument(image.opened, document))
}

function refer({ repository, hold }: Place, subject: Digest, document: ManifestOrIndex): void {
  const descriptor = referrerOf(document)
  hold(JSON.stringify(descriptor).length)
  const known = repository.referrers.get(subject)
  if (known) known.push(descriptor)
  else repository.referrers.set(subject, [descriptor])
}
