import type { ImageGraph } from '../verify/opened-bundle.ts'
import type { ImageEntry } from '../bundle/description.ts'
import type { AirgapError } from '../errors.ts'
import type { DocumentNode } from '../content/graph.ts'
import type { PlannedProject } from './projects.ts'
import type { TargetName } from './names.ts'
import type { Repository } from '../registry/repository.ts'
import type { Digest } from '../oci/digest.ts'
import type { ReferrerEntry } from '../bundle/referrers.ts'
import type { ReferrerGraph } from '../content/referrers.ts'

/** An image on its way to the target. */
export interface PlannedImage {
  image: ImageEntry
  graph: ImageGraph
  name: TargetName
  repository: Repository
  /** What the tag points to now; undefined when there is no such tag. */
  tagNow: Digest | undefined
  /** What becomes of all that travels along with it. */
  fates: readonly ReferrerFate[]
  /** Why the target cannot be asked about this image, which is then left; nothing of it is in the plan. */
  fault?: AirgapError
}

/** A blob, and the target's repositories that need it. */
export interface PlannedBlobTransfer {
  digest: Digest
  /** Bytes. */
  size: number
  present: Repository[]
  missing: Repository[]
  /** Repositories that claim to have it with another length: what they have is damaged. */
  damaged: Repository[]
}

/** A manifest or index, and a repository that needs it. */
export interface PlannedManifest {
  document: DocumentNode
  repository: Repository
  isPresent: boolean
}

/** What a push will do, found out without sending anything. */
export interface PushPlan {
  images: PlannedImage[]
  blobs: PlannedBlobTransfer[]
  /** Children before parents. */
  manifests: PlannedManifest[]
  /** What refers to the images: signatures, attestations, SBOMs. */
  referrers: PlannedReferrer[]
  /** Sources' own indexes, put behind everything else; only where they are asked for. */
  sourceIndexes: PlannedIndex[]
  /** A Harbor's projects that are created before anything is sent; only where that is asked for. */
  projects: PlannedProject[]
  /** Bytes that will be uploaded; what can be mounted is not among them. */
  uploadBytes: number
  uploadCount: number
  mountCount: number
}

/** The full name in the target, with the tag. */
export function tagName({ repository, name }: Pick<PlannedImage, 'repository' | 'name'>): string {
  return `${repository.name}:${name.tag}`
}

/** What becomes of a tag that points to `before` now, when it is set to `digest`. */
export function tagChange(before: Digest | undefined, digest: Digest): 'created' | 'unchanged' | 'moved' {
  if (before === undefined) return 'created'
  return before === digest ? 'unchanged' : 'moved'
}

/** The repositories that get the bytes; the other missing ones mount them from there. */
export function uploadsOf({ present, missing, damaged }: PlannedBlobTransfer): Repository[] {
  if (damaged.length > 0) return damaged
  return present.length > 0 ? [] : missing.slice(0, 1)
}

/** The repositories that mount it from another one of the target. */
export function mountsOf(blob: PlannedBlobTransfer): Repository[] {
  const uploads = new Set(uploadsOf(blob))
  return blob.missing.filter((repository) => !uploads.has(repository))
}

/** What will become of something that travels along with an image. */
export interface ReferrerFate {
  graph: ReferrerGraph
  /**
   * `image`: it is put, because what it refers to is delivered. `source-index`: it is put when the source's own index
   * is there. `not-delivered`: what it refers to does not get into the target; it stays in the bundle, as evidence.
   * `left-out`: the caller does not want it there.
   */
  fate: 'image' | 'source-index' | 'not-delivered' | 'left-out'
}

/** Something that refers to images, on its way to a repository of the target. */
export interface PlannedReferrer {
  entry: ReferrerEntry
  repository: Repository
  /** Those that it came along with. */
  images: PlannedImage[]
  waitsFor: 'image' | 'source-index'
  graph: ReferrerGraph
  /** The digests among `graph.closure.documents` that are there already. */
  present: ReadonlySet<Digest>
  /**
   * What stands under cosign's tag: nothing, all of it, other layers that it is added to, something that nothing can be
   * added to, or something that nobody may read.
   */
  tag: 'free' | 'there' | 'to-merge' | 'taken' | 'held-back'
}

/** The index of a source of which only a part is delivered, on its way to the target. */
export interface PlannedIndex {
  repository: Repository
  digest: Digest
  /** Keeps it from garbage collection. */
  tag: string
  tagNow: Digest | undefined
  isPresent: boolean
  /** The source's own index last, nested ones that lead to delivered platforms before it. */
  documents: readonly DocumentNode[]
}
