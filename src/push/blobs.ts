import type { ImageEntry } from '../bundle/description.ts'
import { blobName } from '../bundle/names.ts'
import { AirgapError, type Problem } from '../errors.ts'
import { shortHex, type Digest } from '../oci/digest.ts'
import type { Repository } from '../registry/repository.ts'
import type { OpenedBundle } from '../verify/opened-bundle.ts'
import { contentEntries, refuse, requireContent } from '../verify/content.ts'
import { blobProgress, type ItemOutcome } from '../content/events.ts'
import { imageByImage } from '../content/image-progress.ts'
import { inParallel } from '../content/parallel.ts'
import { imagesIn } from './image-parts.ts'
import type { PushRun, PushWork } from './work.ts'
import { mountsOf, uploadsOf, type PlannedBlobTransfer, type PushPlan } from './planned.ts'

/** Bytes to read at a time. Larger pieces cost more time than the saved system calls are worth. */
const READ_SIZE = 256 * 1024

/** Hashes the entries that will not be sent. The others are hashed while they are sent. */
export async function checkWhatStays({ opened, plan, options }: PushWork): Promise<void> {
  const sent = new Set(
    plan.blobs.filter((blob) => uploadsOf(blob).length > 0).map(({ digest }) => blobName(digest)),
  )
  const entries = contentEntries(opened).filter(({ name }) => !sent.has(name))
  await requireContent(opened, entries, options)
}

/**
 * Uploads missing blobs, image by image, and mounts them into the other repositories that need them. Blobs are hashed while
 * they are sent; those that could not be sent are hashed afterwards.
 * @throws AirgapError `VERIFICATION_FAILED` if the bundle's content is altered, and errors that concern all images.
 */
export async function sendBlobs(work: PushWork): Promise<void> {
  const { opened, plan, options, failures } = work
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
  const inOrder = imageByImage(plan.blobs, ({ size }) => size, imagesOfBlobs(plan))
  const altered: Problem[] = []
  const unread: PlannedBlobTransfer[] = []
  await inParallel(inOrder, options, async (blob, signal) => {
    try {
      const { outcome, isComplete, isRead } = await sendBlob(blob, work, signal)
      if (isComplete) images.done(blob.digest, outcome)
      if (!isRead) unread.push(blob)
    } catch (error) {
      // The others are aborted with the first one's error, which is not their own.
      if (!signal.aborted && error instanceof AirgapError && error.code === 'INVALID_CONTENT') {
        altered.push({ entry: blobName(blob.digest), message: error.message })
      }
      throw error
    }
  }).catch((error: unknown) => {
    refuse(opened, altered)
    throw error
  })
  // No tag is set before every byte of the bundle has been checked, including blobs that could not be sent.
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

/** The images that a blob belongs to, directly or through their referrers. */
function imagesOfBlobs(plan: PushPlan): (blob: { digest: Digest }) => readonly ImageEntry[] {
  const images = new Map<Digest, ImageEntry[]>()
  const add = (digests: Iterable<Digest>, image: ImageEntry): void => {
    for (const digest of digests) {
      const others = images.get(digest)
      if (others) others.push(image)
      else images.set(digest, [image])
    }
  }
  for (const { image, graph } of plan.images) add(graph.closure.blobs.keys(), image)
  for (const referrer of plan.referrers) {
    for (const { image } of referrer.images) add(referrer.graph.closure.blobs.keys(), image)
  }
  return ({ digest }) => images.get(digest) ?? []
}

interface SentBlob {
  /** The most expensive thing that was done: uploaded, else mounted, else present. */
  outcome: ItemOutcome
  /** Whether every repository that needs the blob has it. */
  isComplete: boolean
  /** Whether its bytes have been hashed: while sending, or earlier because it did not have to be sent. */
  isRead: boolean
}

/** Uploads a blob where necessary, and mounts it from there into the other repositories that need it. */
async function sendBlob(
  blob: PlannedBlobTransfer,
  { opened, options, record, failures }: PushWork,
  signal: AbortSignal,
): Promise<SentBlob> {
  const { digest, size } = blob
  for (const repository of blob.present) record.set(repository, digest, size, 'present-not-read')
  const uploads = uploadsOf(blob)
  const sent: SentBlob = { outcome: 'present', isComplete: true, isRead: uploads.length === 0 }
  let [from] = blob.present
  const send = async (repository: Repository, canMount: boolean): Promise<void> => {
    const isDone = await failures.attempt({ repository, digest, size, kind: 'blob' }, signal, async (own) => {
      const isMounted = canMount && from && (await mount(blob, from, repository, options, own))
      if (!isMounted) {
        if (canMount) options.onEvent?.({ type: 'more', bytes: size })
        await upload(opened, blob, repository, options, own)
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
  { onEvent }: PushRun,
  signal: AbortSignal,
): Promise<boolean> {
  if (!(await repository.mountBlob(digest, from.repository, signal))) return false
  const name = `${shortHex(digest)} in ${repository.name}`
  onEvent?.({ type: 'item', name, bytes: size, outcome: 'mounted', digest })
  return true
}

/** Uploads a blob from the bundle. */
export async function upload(
  opened: OpenedBundle,
  blob: { digest: Digest; size: number },
  repository: Repository,
  { onEvent, uploads }: PushRun,
  signal: AbortSignal,
): Promise<void> {
  const entry = opened.entries.get(blobName(blob.digest))
  if (!entry) throw new AirgapError('INTERNAL', `${blob.digest} is not in the bundle`)
  const { onProgress } = blobProgress(onEvent)
  const open = (from: number) => opened.reader.stream(entry, READ_SIZE, from)
  const memory = uploads?.of(repository.repository, blob.digest)
  await repository.uploadBlob(blob, open, signal, onProgress, memory)
  // The blob may have been there already, from an attempt whose answer was lost: count all of it.
  onProgress?.(blob.size)
  onEvent?.({
    type: 'item',
    name: `${shortHex(blob.digest)} to ${repository.name}`,
    bytes: blob.size,
    outcome: 'uploaded',
    digest: blob.digest,
  })
}
