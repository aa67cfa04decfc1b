import { blobName } from '../../bundle/names.ts'
import { AirgapError, type Problem } from '../../errors.ts'
import { shortHex, type Digest } from '../../oci/digest.ts'
import { downloadBlob } from '../../registry/download.ts'
import type { ManifestOrIndex } from '../../oci/manifest.ts'
import type { RegistryClient } from '../../registry/client.ts'
import type { Repository } from '../../registry/repository.ts'
import type { UploadState } from '../../registry/uploads/state/state.ts'
import { contentEntries, refuse, requireContent } from '../check/verify.ts'
import type { OpenedBundle } from '../check/opened-bundle.ts'
import { blobProgress, type ItemOutcome, type OnEvent } from '../events.ts'
import { ImageProgress } from '../image-progress.ts'
import { inParallel } from '../parallel.ts'
import { contentFor, putWithContent } from './missing-content.ts'
import {
  mountSource,
  mountsOf,
  tagName,
  uploadsOf,
  type PlannedBlobTransfer,
  type PlannedImage,
  type PushPlan,
} from './plan.ts'
import { createProjects } from './projects.ts'
import type { PushRecord } from './record.ts'
import type { Receipt } from './receipt.ts'
import { ensureReferrers } from './referrers.ts'
import { putSourceIndexes } from './source-index.ts'

export interface PushOptions {
  client: RegistryClient
  /** Read the target's content back and hash it before any tag is set. */
  verifyTarget?: boolean
  /** Let tags move that point to another digest. */
  moveTags?: boolean
  /** Blobs sent at a time. */
  concurrency?: number
  /** Remembers unfinished uploads from run to run. */
  uploads?: Pick<UploadState, 'of'>
  signal?: AbortSignal
  onEvent?: OnEvent
}

/** Larger pieces of the bundle in memory cost more time than the system calls that they save. Bytes. */
const READ_SIZE = 256 * 1024

/**
 * Executes a plan: every entry of the bundle is hashed, whether it is sent or not; blobs go before manifests,
 * children before parents, and tags last, after everything else is in its place. Each tag is then read back. Behind
 * them come sources' own indexes, which a registry may refuse: the receipt says so.
 *
 * @param record is told of everything that is done; after a failure it gives the receipt of what was.
 * @throws AirgapError `VERIFICATION_FAILED` when the bundle's content is altered: no tag has been set then.
 */
export async function executePush(
  opened: OpenedBundle,
  plan: PushPlan,
  record: PushRecord,
  options: PushOptions,
): Promise<Receipt> {
  await checkWhatStays(opened, plan, options)
  const { registry } = record.target
  record.setProjects(await createProjects(plan.projects, { ...options, registry }))
  await sendBlobs(opened, plan, options, record)
  await sendManifests(opened, plan, options, record)
  if (options.verifyTarget) await readBack(plan, options, record)
  await setTags(opened, plan, options, record)
  await ensureReferrers(plan.manifests, options)
  await putSourceIndexes(plan.sourceIndexes, options, (index, outcome) => record.setIndex(index, outcome))
  return record.receipt(true)
}

/** Hashes the entries that are not going to be sent; those that are get hashed on their way. */
async function checkWhatStays(opened: OpenedBundle, plan: PushPlan, options: PushOptions): Promise<void> {
  const sent = new Set(
    plan.blobs.filter((blob) => uploadsOf(blob).length > 0).map(({ digest }) => blobName(digest)),
  )
  const entries = contentEntries(opened).filter(({ name }) => !sent.has(name))
  await requireContent(opened, entries, options)
}

async function sendBlobs(
  opened: OpenedBundle,
  plan: PushPlan,
  options: PushOptions,
  record: PushRecord,
): Promise<void> {
  const { onEvent } = options
  const images = imagesIn(plan, (digest) => digest, onEvent)
  onEvent?.({
    type: 'phase',
    phase: 'upload',
    items: plan.uploadCount + plan.mountCount,
    bytes: plan.uploadBytes,
    images: images.count,
  })
  images.begin()
  const largestFirst = plan.blobs.toSorted((a, b) => b.size - a.size)
  const altered: Problem[] = []
  await inParallel(largestFirst, options, async (blob, signal) => {
    for (const repository of blob.present) record.set(repository, blob.digest, blob.size, 'present-not-read')
    try {
      for (const repository of uploadsOf(blob)) {
        await upload(opened, blob, repository, options, signal)
        record.set(repository, blob.digest, blob.size, 'uploaded')
      }
    } catch (error) {
      // The others are called off with the first one's error; it is not theirs.
      if (!signal.aborted && error instanceof AirgapError && error.code === 'INVALID_CONTENT') {
        altered.push({ entry: blobName(blob.digest), message: error.message })
      }
      throw error
    }
    const mounted = await mountOrUpload(opened, blob, options, record, signal)
    images.done(blob.digest, uploadsOf(blob).length > 0 ? 'uploaded' : mounted)
  }).catch((error: unknown) => {
    refuse(opened, altered)
    throw error
  })
}

async function mountOrUpload(
  opened: OpenedBundle,
  blob: PlannedBlobTransfer,
  options: PushOptions,
  record: PushRecord,
  signal: AbortSignal,
): Promise<ItemOutcome> {
  let outcome: ItemOutcome = 'present'
  const from = mountSource(blob)
  for (const repository of mountsOf(blob)) {
    const isMounted = from !== undefined && (await repository.mountBlob(blob.digest, from.repository, signal))
    if (isMounted) {
      record.set(repository, blob.digest, blob.size, 'mounted')
      options.onEvent?.({
        type: 'item',
        name: `${shortHex(blob.digest)} in ${repository.name}`,
        bytes: blob.size,
        outcome: 'mounted',
        digest: blob.digest,
      })
      if (outcome === 'present') outcome = 'mounted'
    } else {
      options.onEvent?.({ type: 'more', bytes: blob.size })
      outcome = 'uploaded'
      await upload(opened, blob, repository, options, signal)
      record.set(repository, blob.digest, blob.size, 'uploaded')
    }
  }
  return outcome
}

/** @param partOf names a blob of an image in the phase. */
function imagesIn(
  plan: PushPlan,
  partOf: (digest: Digest, repository: Repository) => string,
  onEvent: OnEvent | undefined,
): ImageProgress {
  const images = plan.images.map(({ image, graph, repository }) => ({
    name: image.source,
    bytes: image.size,
    parts: [...graph.closure.blobs.keys()].map((digest) => partOf(digest, repository)),
  }))
  return new ImageProgress(images, onEvent)
}

async function upload(
  opened: OpenedBundle,
  blob: { digest: Digest; size: number },
  repository: Repository,
  { onEvent, uploads }: PushOptions,
  signal: AbortSignal,
): Promise<void> {
  const entry = opened.entries.get(blobName(blob.digest))
  if (!entry) throw new AirgapError('INTERNAL', `${blob.digest} is not in the bundle`)
  const { onProgress } = blobProgress(onEvent)
  const open = (from: number) => opened.reader.stream(entry, READ_SIZE, from)
  const memory = uploads?.of(repository.repository, blob.digest)
  await repository.uploadBlob(blob, open, signal, onProgress, memory)
  // It may have been there after an attempt whose answer was lost.
  onProgress?.(blob.size)
  onEvent?.({
    type: 'item',
    name: `${shortHex(blob.digest)} to ${repository.name}`,
    bytes: blob.size,
    outcome: 'uploaded',
    digest: blob.digest,
  })
}

/** Children before parents: a registry refuses an index whose children it does not have. */
async function sendManifests(
  opened: OpenedBundle,
  plan: PushPlan,
  options: PushOptions,
  record: PushRecord,
): Promise<void> {
  const content = contentFor({ opened, plan, options, record, upload })
  const byRepository = Map.groupBy(plan.manifests, ({ repository }) => repository)
  await inParallel([...byRepository.values()], options, async (manifests, signal) => {
    for (const { document, repository, isPresent } of manifests) {
      const size = document.bytes.length
      if (isPresent) {
        record.set(repository, document.digest, size, 'present-not-read')
        continue
      }
      await putWithContent({ repository, ref: document.digest, document }, content, signal)
      record.set(repository, document.digest, size, 'uploaded')
    }
  })
}

/**
 * Reads everything back from every repository that has to have it: a registry's word that something is there says
 * nothing about its bytes.
 */
async function readBack(plan: PushPlan, options: PushOptions, record: PushRecord): Promise<void> {
  const { client, onEvent } = options
  const blobs = plan.blobs.flatMap((blob) =>
    [...blob.present, ...blob.damaged, ...blob.missing].map((repository) => ({ blob, repository })),
  )
  const bytes = blobs.reduce((sum, { blob }) => sum + blob.size, 0)
  const partOf = (digest: Digest, { name }: Repository): string => `${name} ${digest}`
  const images = imagesIn(plan, partOf, onEvent)
  onEvent?.({ type: 'phase', phase: 'read-back', items: blobs.length, bytes, images: images.count })
  images.begin()
  await inParallel(blobs, options, async ({ blob, repository }, signal) => {
    const descriptor = { mediaType: 'application/octet-stream', digest: blob.digest, size: blob.size }
    const sink = { restartable: true, write: async () => {} }
    await downloadBlob([repository], descriptor, sink, { client, signal, ...blobProgress(onEvent) })
    record.markRead(repository, blob.digest)
    const name = `${shortHex(blob.digest)} in ${repository.name}`
    onEvent?.({ type: 'item', name, bytes: blob.size, outcome: 'confirmed', digest: blob.digest })
    images.done(partOf(blob.digest, repository), 'confirmed')
  })
  await inParallel(plan.manifests, options, async ({ document, repository }, signal) => {
    await repository.fetchManifest(document.digest, signal)
    record.markRead(repository, document.digest)
  })
}

/** Sets the tags, and confirms each by reading the manifest back under it and hashing it. */
async function setTags(
  opened: OpenedBundle,
  plan: PushPlan,
  options: PushOptions,
  record: PushRecord,
): Promise<void> {
  const { onEvent } = options
  const content = contentFor({ opened, plan, options, record, upload })
  const unique = new Map(plan.images.map((planned) => [tagName(planned), planned]))
  onEvent?.({ type: 'phase', phase: 'tag', items: unique.size + plan.sourceIndexes.length, bytes: 0 })
  await inParallel([...unique], options, async ([name, planned], signal) => {
    const { image, repository, tagNow } = planned
    if (tagNow === image.digest && (await isTagged(planned, signal))) {
      record.setTag(planned, tagNow)
      record.markRead(repository, image.digest)
      onEvent?.({ type: 'item', name, bytes: 0, outcome: 'tagged' })
      return
    }
    // Hours may have gone by since the plan was made.
    const before = (await repository.resolveManifest(planned.name.tag, signal))?.digest
    if (before !== image.digest) {
      if (before !== undefined && before !== tagNow && !options.moveTags)
        throw setBySomebody(name, before, image.digest)
      const put = { repository, ref: planned.name.tag, document: rootOf(planned) }
      await putWithContent(put, content, signal)
    }
    record.setTag(planned, before)
    const there = await repository.fetchManifest(planned.name.tag, signal)
    if (there.digest !== image.digest) throw notConfirmed(name, image.digest, there.digest)
    record.markRead(repository, image.digest)
    onEvent?.({ type: 'item', name, bytes: 0, outcome: 'tagged' })
  })
}

/** Whether a tag that need not be set is still what it was, read as the others are after they have been set. */
async function isTagged({ image, repository, name }: PlannedImage, signal: AbortSignal): Promise<boolean> {
  try {
    return (await repository.fetchManifest(name.tag, signal)).digest === image.digest
  } catch (error) {
    if (error instanceof AirgapError && error.code === 'NOT_FOUND') return false
    throw error
  }
}

function setBySomebody(name: string, before: Digest, wanted: Digest): AirgapError {
  return new AirgapError(
    'TAG_WOULD_MOVE',
    `${name} has been set to ${before} while this push was under way; it would move to ${wanted}`,
    {
      hint: 'Find out who else pushes there. If the tag is to move, push again with --move-tags; what has arrived is not sent again.',
    },
  )
}

function rootOf({ image, graph }: PlannedImage): ManifestOrIndex {
  const root = graph.closure.documents.get(image.digest)
  if (!root) throw new AirgapError('INTERNAL', `${image.source} has no manifest`)
  return root
}

function notConfirmed(name: string, expected: Digest, actual: Digest): AirgapError {
  return new AirgapError('CONTENT_MISMATCH', `${name} was set to ${expected}, but reads back as ${actual}`, {
    hint: 'Somebody else has set the tag at the same time, or a cache stands in front of the registry. Push again.',
  })
}
