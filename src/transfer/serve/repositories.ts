import type { Digest } from '../../oci/digest.ts'
import type { Descriptor, ManifestOrIndex } from '../../oci/manifest.ts'
import { referrerOf } from '../../oci/referrer.ts'
import { parseCosignTag, withLayers } from '../../oci/cosign.ts'
import type { ReferrerGraph } from '../referrers.ts'
import type { StoredBlob } from '../../server/storage.ts'
import { namespaceOf, type ServedImage } from './names.ts'

/** One repository of one source registry, with what all bundles have of it. */
export interface SourceRepository {
  namespace: string
  repository: string
  fullName: string | undefined
  tags: Map<string, Digest>
  documents: Map<Digest, ManifestOrIndex>
  blobs: Set<Digest>
  /** By the digest of the subject. */
  referrers: Map<Digest, Descriptor[]>
  /** Cosign's tags of what travels along with the images. */
  attached: Map<string, Digest>
}

/** Finds the bytes of a blob in one of the bundles. */
export type FindBlob = (digest: Digest) => Promise<StoredBlob | undefined>

/** Puts images together by the repository that they come from. */
export function sourceRepositories(images: readonly ServedImage[]): SourceRepository[] {
  const found = new Map<string, SourceRepository>()
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
        blobs: new Set(),
        referrers: new Map(),
        attached: new Map(),
      }
      found.set(key, repository)
    }
    repository.tags.set(image.tag, image.digest)
    const { closure, evidence } = image.graph
    for (const document of [...closure.documents.values(), ...evidence]) add(repository, document)
    for (const digest of closure.blobs.keys()) repository.blobs.add(digest)
    for (const referrer of image.graph.referrers) attach(repository, referrer)
  }
  return [...found.values()]
}

function attach(repository: SourceRepository, { entry, closure }: ReferrerGraph): void {
  for (const document of closure.documents.values()) add(repository, document)
  for (const digest of closure.blobs.keys()) repository.blobs.add(digest)
  const { tag } = entry
  if (tag === undefined) return
  const before = repository.documents.get(repository.attached.get(tag) ?? entry.digest)
  const now = repository.documents.get(entry.digest)
  if (before?.kind !== 'manifest' || now?.kind !== 'manifest') return
  // Bundles of different times may have different signatures of one image; whoever asks here gets all. Of SBOMs cosign
  // takes one alone.
  const canHoldAll = parseCosignTag(tag)?.kind !== 'sbom'
  const document = before !== now && canHoldAll ? withLayers(before, now.layers) : before
  add(repository, document)
  repository.attached.set(tag, document.digest)
}

function add({ documents, referrers }: SourceRepository, document: ManifestOrIndex): void {
  if (documents.has(document.digest)) return
  documents.set(document.digest, document)
  if (!document.subject) return
  const { digest } = document.subject
  referrers.set(digest, [...(referrers.get(digest) ?? []), referrerOf(document)])
}
