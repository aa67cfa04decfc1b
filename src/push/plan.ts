import type { ImageEntry } from '../bundle/description.ts'
import type { ReferrerChoice } from '../oci/manifest.ts'
import { AirgapError, type ErrorCode, type Problem } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { RegistryClient } from '../registry/client.ts'
import { projectOf, type ProjectVisibility } from '../registry/vendors/harbor.ts'
import { type Repository, digestAt } from '../registry/repository.ts'
import type { OpenedBundle } from '../verify/opened-bundle.ts'
import { isOfOneImage } from '../content/failures.ts'
import type { DocumentNode } from '../content/graph.ts'
import { inParallel } from '../content/parallel.ts'
import { noneCanBe } from './push-failures.ts'
import { nameImages, type NamingOptions } from './names.ts'
import { planProjects } from './projects.ts'
import { fatesOf, planReferrers } from './referrers/plan.ts'
import { planSourceIndexes } from './source-index.ts'
import {
  type PlannedImage,
  type PlannedBlobTransfer,
  type PlannedManifest,
  type PushPlan,
  tagName,
  tagChange,
  uploadsOf,
  mountsOf,
  type PlannedReferrer,
  type PlannedIndex,
} from './planned.ts'

/** After these errors, asking about the next image makes no sense, and a wrong password must not be tried repeatedly. */
const STOPS_PLANNING = new Set<ErrorCode>(['NETWORK', 'TLS', 'RATE_LIMITED', 'UNAUTHORIZED', 'CREDENTIALS'])

export interface PlanPushOptions extends NamingOptions {
  client: RegistryClient
  /** Which of the bundle's images to push. */
  select?: (image: ImageEntry) => boolean
  moveTags?: boolean | undefined
  /** Create missing projects in Harbor. */
  createProjects?: ProjectVisibility | undefined
  /** Also put the sources' own indexes of images of which only some platforms are delivered. */
  sparseIndex?: boolean | undefined
  /** Which of the images' referrers to push; by default `all`. */
  referrers?: ReferrerChoice | undefined
  /** Explains the refusal of an image that is left out while others continue. */
  explain?: (error: AirgapError) => Promise<AirgapError>
  concurrency?: number | undefined
  signal?: AbortSignal | undefined
}

/**
 * Names the images, asks the target what it has, and lists what is missing. Sends nothing. If the target refuses to
 * resolve the tag of one image, this does not stop the others.
 *
 * @throws AirgapError `NAME_CONFLICT`, `INVALID_TARGET_NAME`, `TAG_WOULD_MOVE`, `USAGE`, each with every case;
 * and the registry's errors.
 */
export async function makePushPlan(opened: OpenedBundle, options: PlanPushOptions): Promise<PushPlan> {
  const graphs = opened.images.filter(({ image }) => options.select?.(image) ?? true)
  if (graphs.length === 0) {
    throw new AirgapError('USAGE', 'no image of the bundle is left to push', {
      hint: { id: 'include-and-exclude' },
    })
  }
  const names = nameImages(
    graphs.map(({ image }) => image),
    options,
  )
  const { client, target, createProjects } = options
  const paths = [...names.values()].map(({ repository }) => repository)
  const projects = createProjects
    ? await planProjects(paths, createProjects, { ...options, client, registry: target.registry })
    : []
  const absent = new Set(projects.map(({ name }) => name))
  // Do not ask for content in a project that does not exist: Harbor would refuse the request.
  const isAbsent = ({ repository }: Repository): boolean => absent.has(projectOf(repository) ?? '')
  const repositories = new Map<string, Repository>()
  const repositoryOf = (path: string): Repository => {
    const known = repositories.get(path) ?? client.repository(target.registry, path)
    repositories.set(path, known)
    return known
  }
  client.expect(
    target.registry,
    graphs.flatMap(({ image }) => names.get(image)?.repository ?? []),
    'pull,push',
  )
  const images = await inParallel(graphs, options, async (graph, signal): Promise<PlannedImage> => {
    const name = names.get(graph.image)
    if (!name) throw new AirgapError('INTERNAL', `${graph.image.source} has no name`)
    const repository = repositoryOf(name.repository)
    const fates = fatesOf({ image: graph.image, graph }, options)
    const planned = { image: graph.image, graph, name, repository, tagNow: undefined, fates }
    try {
      const tagNow = isAbsent(repository) ? undefined : await digestAt(repository, name.tag, signal)
      return { ...planned, tagNow }
    } catch (error) {
      if (signal.aborted || !isOfOneImage(error) || STOPS_PLANNING.has(error.code)) throw error
      return { ...planned, fault: error }
    }
  })
  const askable = images.filter(({ fault }) => fault === undefined)
  if (askable.length === 0) throw noneCanBe(images)
  const { explain } = options
  for (const planned of images) {
    if (planned.fault && explain) planned.fault = await explain(planned.fault)
  }
  const sourceIndexes = options.sparseIndex ? await planSourceIndexes(askable, options, isAbsent) : []
  if (!options.moveTags) refuseMovedTags(images, sourceIndexes)

  const referrers = await planReferrers(askable, opened, options, isAbsent)
  const blobs = await inParallel(blobNeeds(askable, referrers), options, (need, signal) =>
    locateBlob(need, isAbsent, signal),
  )
  client.expectSources(target.registry, mountSources(blobs))
  // The manifests that tags point to are there: do not ask for them again.
  const known = new Set(askable.map(({ repository, tagNow }) => `${repository.name} ${tagNow}`))
  const manifests = await inParallel(
    manifestNeeds(askable),
    options,
    async (need, signal): Promise<PlannedManifest> => {
      if (isAbsent(need.repository)) return { ...need, isPresent: false }
      if (known.has(`${need.repository.name} ${need.document.digest}`)) return { ...need, isPresent: true }
      const { repository, document } = need
      return { ...need, isPresent: (await digestAt(repository, document.digest, signal)) === document.digest }
    },
  )
  return {
    images,
    blobs,
    manifests,
    referrers,
    sourceIndexes,
    projects,
    uploadCount: blobs.reduce((sum, blob) => sum + uploadsOf(blob).length, 0),
    uploadBytes: blobs.reduce((sum, blob) => sum + blob.size * uploadsOf(blob).length, 0),
    mountCount: blobs.reduce((sum, blob) => sum + mountsOf(blob).length, 0),
  }
}

function refuseMovedTags(images: readonly PlannedImage[], indexes: readonly PlannedIndex[]): void {
  const problems: Problem[] = images
    .filter(({ image, tagNow }) => tagChange(tagNow, image.digest) === 'moved')
    .map((planned) => ({
      entry: tagName(planned),
      message: `is ${planned.tagNow}, but ${planned.image.source} would make it ${planned.image.digest}`,
    }))
  for (const { repository, tag, tagNow, digest } of indexes) {
    if (tagChange(tagNow, digest) !== 'moved') continue
    problems.push({
      entry: `${repository.name}:${tag}`,
      message: `is ${tagNow}, but a source index would make it ${digest}`,
    })
  }
  if (problems.length === 0) return
  throw new AirgapError(
    'TAG_WOULD_MOVE',
    `${problems.length === 1 ? 'a tag' : `${problems.length} tags`} in the target would move to another digest`,
    {
      problems,
      hint: [
        'Nothing was sent. If the tags should move, allow that; the receipt then records the old digests.',
        { id: 'move-tags' },
      ],
    },
  )
}

interface BlobNeed {
  digest: Digest
  size: number
  repositories: Set<Repository>
}

/** All blobs, without duplicates, with the repositories that need them, in a fixed order. */
function blobNeeds(images: readonly PlannedImage[], referrers: readonly PlannedReferrer[]): BlobNeed[] {
  const needs = new Map<Digest, BlobNeed>()
  for (const { graph, repository } of [...images, ...referrers]) {
    for (const [digest, { size }] of graph.closure.blobs) {
      const need = needs.get(digest) ?? { digest, size, repositories: new Set() }
      need.repositories.add(repository)
      needs.set(digest, need)
    }
  }
  return [...needs.values()]
}

function manifestNeeds(
  images: readonly PlannedImage[],
): { document: DocumentNode; repository: Repository }[] {
  const needs = new Map<string, { document: DocumentNode; repository: Repository }>()
  for (const { graph, repository } of images) {
    for (const document of graph.closure.documents.values()) {
      const key = `${repository.name} ${document.digest}`
      if (!needs.has(key)) needs.set(key, { document, repository })
    }
  }
  return [...needs.values()]
}

/** Finds out which repositories have a blob. A registry may have a damaged one, so at least its size has to be right. */
async function locateBlob(
  need: BlobNeed,
  isAbsent: (repository: Repository) => boolean,
  signal: AbortSignal,
): Promise<PlannedBlobTransfer> {
  const found: PlannedBlobTransfer = {
    digest: need.digest,
    size: need.size,
    present: [],
    missing: [],
    damaged: [],
  }
  for (const repository of need.repositories) {
    const there = isAbsent(repository) ? undefined : await repository.statBlob(need.digest, signal)
    if (!there) found.missing.push(repository)
    else if (there.size !== undefined && there.size !== need.size) found.damaged.push(repository)
    else found.present.push(repository)
  }
  return found
}

/** The repository from which the others mount a blob. */
function mountSource(blob: PlannedBlobTransfer): Repository | undefined {
  return blob.present[0] ?? uploadsOf(blob)[0]
}

/** All repositories that others mount from, those with the most mounts first. */
function mountSources(blobs: readonly PlannedBlobTransfer[]): string[] {
  const mounts = new Map<string, number>()
  for (const blob of blobs) {
    const source = mountSource(blob)?.repository
    const count = mountsOf(blob).length
    if (source !== undefined && count > 0) mounts.set(source, (mounts.get(source) ?? 0) + count)
  }
  return [...mounts].toSorted(([, a], [, b]) => b - a).map(([repository]) => repository)
}
