import { blobName } from '../../bundle/names.ts'
import { AirgapError, type Problem } from '../../errors.ts'
import { shortHex, type Digest } from '../../oci/digest.ts'
import { downloadBlob } from '../../registry/download.ts'
import type { RegistryClient } from '../../registry/client.ts'
import type { Repository } from '../../registry/repository.ts'
import type { UploadState } from '../../registry/uploads/state/state.ts'
import { contentEntries, refuse, requireContent } from '../check/verify.ts'
import type { OpenedBundle } from '../check/opened-bundle.ts'
import { blobProgress, type ItemOutcome, type OnEvent } from '../events.ts'
import { ImageProgress } from '../image-progress.ts'
import { inParallel } from '../parallel.ts'
import type { ImageSigning } from './image-signatures/plan.ts'
import { beforeSourceIndexes, signImages } from './image-signatures/sign.ts'
import { contentFor, putWithContent } from './missing-content.ts'
import { mountsOf, uploadsOf, type PlannedBlobTransfer, type PushPlan } from './plan.ts'
import { createProjects } from './projects.ts'
import { PushFailures } from './push-failures.ts'
import type { PushRecord } from './record.ts'
import type { Receipt } from './receipt.ts'
import { ensureReferrers } from './referrers/delivered.ts'
import { listReferrers, readReferrersBack, sendReferrers } from './referrers/send.ts'
import { putSourceIndexes } from './source-index.ts'
import { setTags } from './tags.ts'

export interface PushOptions {
  client: RegistryClient
  /** Read the target's content back and hash it before any tag is set. */
  verifyTarget?: boolean
  /** Let tags move that point to another digest. */
  moveTags?: boolean
  /** Sign what was pushed, before tags are set. */
  signImages?: ImageSigning | undefined
  /** Blobs sent at a time. */
  concurrency?: number
  /** Remembers unfinished uploads from run to run. */
  uploads?: Pick<UploadState, 'of'>
  /** Called once, before the first tag is set; where it fails, none is. */
  beforeTags?: () => Promise<void>
  signal?: AbortSignal
  onEvent?: OnEvent
}

/** Larger pieces of the bundle in memory cost more time than the system calls that they save. Bytes. */
const READ_SIZE = 256 * 1024

/**
 * Executes a plan: every entry of the bundle is hashed, whether it is sent or not; blobs go before manifests,
 * children before parents, what refers to them behind them, own signatures for a cluster behind those, and tags last,
 * after everything else is in its place, so that whoever finds an image by its tag finds its signatures, too. Each tag
 * is then read back. Behind them come sources' own indexes, which a registry may refuse: the receipt says so.
 *
 * What cannot be sent, put or tagged for one image does not stop the others; an image that lacks anything is not tagged.
 * What refers to an image is not a part of it: where a registry does not take that, the image is tagged all the same, and
 * the push is incomplete.
 *
 * @param record is told of everything that is done; after a failure it gives the receipt of what was.
 * @throws AirgapError `INCOMPLETE` naming the images that failed or lack what refers to them, or what all of them failed for;
 *   `VERIFICATION_FAILED` when the bundle's content is altered: no tag has been set then.
 */
export async function executePush(
  opened: OpenedBundle,
  plan: PushPlan,
  record: PushRecord,
  options: PushOptions,
): Promise<Receipt> {
  const failures = new PushFailures(plan, options.onEvent)
  await checkWhatStays(opened, plan, options)
  const { registry } = record.target
  record.setProjects(await createProjects(plan.projects, { ...options, registry }))
  await sendBlobs(opened, plan, options, record, failures)
  const content = contentFor({ opened, plan, options, record, upload })
  await sendManifests(plan, options, record, failures, content)
  const push = { plan, options, record, failures, content }
  await sendReferrers(push)
  if (options.verifyTarget) {
    await readBack(plan, options, record, failures)
    await readReferrersBack(push)
  }
  await listReferrers(
    plan.referrers.filter(({ waitsFor }) => waitsFor === 'image'),
    push,
  )
  if (options.signImages) await signImages(plan, options.signImages, options, record.signatures, failures)
  await setTags(plan, options, record, failures, content)
  const inPlace = plan.manifests.filter(({ repository, document: { digest } }) =>
    failures.isNeeded({ repository, digest }),
  )
  await ensureReferrers(inPlace, options)
  const sourceIndexes = plan.sourceIndexes.filter(({ repository, digest }) =>
    plan.images
      .filter(({ image, repository: own }) => own === repository && image.sourceDigest === digest)
      .every((planned) => failures.isWhole(planned)),
  )
  const beforeTag = beforeSourceIndexes(plan, options.signImages, record.signatures)
  await putSourceIndexes(sourceIndexes, { ...options, beforeTag }, (index, outcome) =>
    record.setIndex(index, outcome),
  )
  await listReferrers(
    plan.referrers.filter((planned) => record.hasIndexOf(planned)),
    push,
  )
  for (const [planned, error] of failures.lostReferrers) record.setLost(planned, error)
  failures.throwIfAny()
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
  failures: PushFailures,
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
  const unread: PlannedBlobTransfer[] = []
  await inParallel(largestFirst, options, async (blob, signal) => {
    try {
      const { outcome, isComplete, isRead } = await sendBlob(opened, blob, options, record, failures, signal)
      if (isComplete) images.done(blob.digest, outcome)
      if (!isRead) unread.push(blob)
    } catch (error) {
      // The others are called off with the first one's error; it is not theirs.
      if (!signal.aborted && error instanceof AirgapError && error.code === 'INVALID_CONTENT') {
        altered.push({ entry: blobName(blob.digest), message: error.message })
      }
      throw error
    }
  }).catch((error: unknown) => {
    refuse(opened, altered)
    throw error
  })
  // No tag is set before every byte of the bundle has been checked, also of what could not be sent.
  if (failures.isAnyWhole && unread.length > 0) {
    const names = new Set(unread.map(({ digest }) => blobName(digest)))
    await requireContent(
      opened,
      contentEntries(opened).filter(({ name }) => names.has(name)),
      options,
    )
    unread.length = 0
  }
  if (unread.length === 0) opened.checked.set('content', 0)
}

interface SentBlob {
  /** What took most. */
  outcome: ItemOutcome
  /** Whether every repository has it that needs it. */
  isComplete: boolean
  /** Whether its bytes have been hashed: on their way now, or before because they were not to be sent. */
  isRead: boolean
}

/** Uploads a blob where it has to be, and mounts it from there where it is needed besides. */
async function sendBlob(
  opened: OpenedBundle,
  blob: PlannedBlobTransfer,
  options: PushOptions,
  record: PushRecord,
  failures: PushFailures,
  signal: AbortSignal,
): Promise<SentBlob> {
  const { digest, size } = blob
  for (const repository of blob.present) record.set(repository, digest, size, 'present-not-read')
  const uploads = uploadsOf(blob)
  const sent: SentBlob = { outcome: 'present', isComplete: true, isRead: uploads.length === 0 }
  let [from] = blob.present
  const send = async (repository: Repository, canMount: boolean): Promise<void> => {
    const isDone = await failures.attempt({ repository, digest, size, kind: 'blob' }, signal, async () => {
      const isMounted = canMount && from && (await mount(blob, from, repository, options, signal))
      if (!isMounted) {
        if (canMount) options.onEvent?.({ type: 'more', bytes: size })
        await upload(opened, blob, repository, options, signal)
        sent.isRead = true
      }
      record.set(repository, digest, size, isMounted ? 'mounted' : 'uploaded')
      if (!isMounted) sent.outcome = 'uploaded'
      else if (sent.outcome === 'present') sent.outcome = 'mounted'
    })
    if (isDone) from ??= repository
    else sent.isComplete = false
  }
  for (const repository of uploads) await send(repository, false)
  for (const repository of mountsOf(blob)) await send(repository, true)
  return sent
}

async function mount(
  { digest, size }: PlannedBlobTransfer,
  from: Repository,
  repository: Repository,
  { onEvent }: PushOptions,
  signal: AbortSignal,
): Promise<boolean> {
  if (!(await repository.mountBlob(digest, from.repository, signal))) return false
  const name = `${shortHex(digest)} in ${repository.name}`
  onEvent?.({ type: 'item', name, bytes: size, outcome: 'mounted', digest })
  return true
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
  plan: PushPlan,
  options: PushOptions,
  record: PushRecord,
  failures: PushFailures,
  content: ReturnType<typeof contentFor>,
): Promise<void> {
  const byRepository = Map.groupBy(plan.manifests, ({ repository }) => repository)
  await inParallel([...byRepository.values()], options, async (manifests, signal) => {
    for (const { document, repository, isPresent } of manifests) {
      const { digest } = document
      const size = document.bytes.length
      if (isPresent) {
        record.set(repository, digest, size, 'present-not-read')
      } else if (failures.isNeeded({ repository, digest })) {
        await failures.attempt({ repository, digest, size, kind: 'manifest' }, signal, async () => {
          await putWithContent({ repository, ref: digest, document }, content, signal)
          record.set(repository, digest, size, 'uploaded')
        })
      }
    }
  })
}

/**
 * Reads everything back from every repository that has to have it: a registry's word that something is there says
 * nothing about its bytes. What belongs to images alone that lack something is left.
 */
async function readBack(
  plan: PushPlan,
  options: PushOptions,
  record: PushRecord,
  failures: PushFailures,
): Promise<void> {
  const { client, onEvent } = options
  const blobs = plan.blobs
    .flatMap((blob) =>
      [...blob.present, ...blob.damaged, ...blob.missing].map((repository) => ({ blob, repository })),
    )
    .filter(({ blob: { digest }, repository }) => failures.isNeeded({ repository, digest }))
  const bytes = blobs.reduce((sum, { blob }) => sum + blob.size, 0)
  const partOf = (digest: Digest, { name }: Repository): string => `${name} ${digest}`
  const images = imagesIn(plan, partOf, onEvent)
  onEvent?.({ type: 'phase', phase: 'read-back', items: blobs.length, bytes, images: images.count })
  images.begin()
  await inParallel(blobs, options, async ({ blob: { digest, size }, repository }, signal) => {
    const descriptor = { mediaType: 'application/octet-stream', digest, size }
    const sink = { restartable: true, write: async () => {} }
    await failures.attempt({ repository, digest, size, kind: 'blob' }, signal, async () => {
      await downloadBlob([repository], descriptor, sink, { client, signal, ...blobProgress(onEvent) })
      record.markRead(repository, digest)
      const name = `${shortHex(digest)} in ${repository.name}`
      onEvent?.({ type: 'item', name, bytes: size, outcome: 'confirmed', digest })
      images.done(partOf(digest, repository), 'confirmed')
    })
  })
  await inParallel(
    plan.manifests,
    options,
    async ({ document: { digest, bytes: all }, repository }, signal) => {
      if (!failures.isNeeded({ repository, digest })) return
      await failures.attempt({ repository, digest, size: all.length, kind: 'manifest' }, signal, async () => {
        await repository.fetchManifest(digest, signal)
        record.markRead(repository, digest)
      })
    },
  )
}
