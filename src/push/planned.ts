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

/** An image to push. */
export interface PlannedImage {
  image: ImageEntry
  graph: ImageGraph
  name: TargetName
  repository: Repository
  /** What the tag points to now; undefined if there is no such tag. */
  tagNow: Digest | undefined
  /** What happens to its referrers. */
  fates: readonly ReferrerFate[]
  /** Why the target cannot be asked about this image. Then nothing of the image is in the plan. */
  fault?: AirgapError
}

/** A blob, and the repositories of the target that need it. */
export interface PlannedBlobTransfer {
  digest: Digest
  /** Bytes. */
  size: number
  present: Repository[]
  missing: Repository[]
  /** Repositories that have it with another size, so it is damaged there. */
  damaged: Repository[]
}

/** A manifest or index, and a repository that needs it. */
export interface PlannedManifest {
  document: DocumentNode
  repository: Repository
  isPresent: boolean
}

/** What a push will do. Planning sends nothing. */
export interface PushPlan {
  images: PlannedImage[]
  blobs: PlannedBlobTransfer[]
  /** Children before parents. */
  manifests: PlannedManifest[]
  /** The images' referrers: signatures, attestations, SBOMs. */
  referrers: PlannedReferrer[]
  /** The sources' own indexes, which are put last, if requested. */
  sourceIndexes: PlannedIndex[]
  /** Projects to create in Harbor before anything is sent, if requested. */
  projects: PlannedProject[]
  /** Bytes that will be uploaded, not counting blobs that can be mounted. */
  uploadBytes: number
  uploadCount: number
  mountCount: number
}

/** The full name in the target, with the tag. */
export function tagName({ repository, name }: Pick<PlannedImage, 'repository' | 'name'>): string {
  return `${repository.name}:${name.tag}`
}

/** What happens to a tag that points to `before` when it is set to `digest`. */
export function tagChange(before: Digest | undefined, digest: Digest): 'created' | 'unchanged' | 'moved' {
  if (before === undefined) return 'created'
  return before === digest ? 'unchanged' : 'moved'
}

/** The repositories to upload a blob to; the other ones that lack it mount it. */
export function uploadsOf({ present, missing, damaged }: PlannedBlobTransfer): Repository[] {
  if (damaged.length > 0) return damaged
  return present.length > 0 ? [] : missing.slice(0, 1)
}

/** The repositories that mount a blob from another repository of the target. */
export function mountsOf(blob: PlannedBlobTransfer): Repository[] {
  const uploads = new Set(uploadsOf(blob))
  return blob.missing.filter((repository) => !uploads.has(repository))
}

/** What will happen to a referrer of an image. */
export interface ReferrerFate {
  graph: ReferrerGraph
  /**
   * `image`: it is pushed, because what it refers to is delivered. `source-index`: it is pushed once the source's own index
   * is there. `not-delivered`: what it refers to is not pushed; it stays in the bundle as evidence. `left-out`: the caller
   * does not want it.
   */
  fate: 'image' | 'source-index' | 'not-delivered' | 'left-out'
}

/** A referrer to push into a repository of the target. */
export interface PlannedReferrer {
  entry: ReferrerEntry
  repository: Repository
  /** The images that it belongs to. */
  images: PlannedImage[]
  waitsFor: 'image' | 'source-index'
  graph: ReferrerGraph
  /** The digests among `graph.closure.documents` that are already there. */
  present: ReadonlySet<Digest>
  /**
   * What is under its cosign tag: `free`: nothing; `there`: all of it; `to-merge`: other layers, to which it is added;
   * `taken`: something that it cannot be added to; `held-back`: something that nobody may read.
   */
  tag: 'free' | 'there' | 'to-merge' | 'taken' | 'held-back'
}

/** The own index of a source of which only some platforms are delivered, to be put into the target. */
export interface PlannedIndex {
  repository: Repository
  digest: Digest
  /** The tag that protects it from garbage collection. */
  tag: string
  tagNow: Digest | undefined
  isPresent: boolean
  /** The source's own index last, after the nested ones that lead to delivered platforms. */
  documents: readonly DocumentNode[]
}
