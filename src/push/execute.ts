import type { OpenedBundle } from '../verify/opened-bundle.ts'
import { checkWhatStays, sendBlobs, upload } from './blobs.ts'
import { beforeSourceIndexes, signImages } from './image-signatures/sign.ts'
import { contentFor, putWithContent } from './missing-content.ts'
import { createProjects } from './projects.ts'
import { PushFailures } from './push-failures.ts'
import type { PushRecord } from './record.ts'
import type { Receipt } from './receipt.ts'
import { ensureReferrers, ensureListed, readReferrersBack, sendReferrers } from './referrers/send.ts'
import { putSourceIndexes } from './source-index.ts'
import type { PushRun, PushWork } from './work.ts'
import { inParallel } from '../content/parallel.ts'
import { type Digest, shortHex } from '../oci/digest.ts'
import { downloadBlob } from '../registry/blobs/download.ts'
import type { Repository } from '../registry/repository.ts'
import { blobProgress } from '../content/events.ts'
import { imagesIn } from './image-parts.ts'
import { AirgapError } from '../errors.ts'
import type { DocumentNode } from '../content/graph.ts'
import { type PlannedImage, type PushPlan, tagName } from './planned.ts'

/**
 * Executes a plan. Every entry of the bundle is hashed, whether it is sent or not. Blobs go first, then manifests
 * (children before parents), then referrers, then our own signatures for a cluster. Tags come last, so that an image that
 * can be found by its tag already has its signatures. Each tag is then read back. At the end come the sources' own indexes,
 * which a registry can refuse; the receipt says so.
 *
 * What fails for one image does not stop the others, and an incomplete image is not tagged. Referrers are not part of an
 * image: if the registry refuses them, the image is still tagged, and the push is incomplete.
 *
 * @param record gets everything that is done; after a failure it makes the receipt.
 * @throws AirgapError `INCOMPLETE`, which names the images that failed or lack referrers, or the common cause if all of them
 *   failed for it; `VERIFICATION_FAILED` if the bundle's content is altered: then no tag has been set.
 */
export async function executePush(
  opened: OpenedBundle,
  plan: PushPlan,
  record: PushRecord,
  options: PushRun,
): Promise<Receipt> {
  const failures = new PushFailures(plan, options)
  const work = { opened, plan, options, record, failures }
  await checkWhatStays(work)
  const { registry } = record.target
  record.setProjects(await createProjects(plan.projects, { ...options, registry }))
  await sendBlobs(work)
  const content = contentFor({ opened, plan, options, record, upload })
  await sendManifests(work, content)
  const push = { ...work, content }
  await sendReferrers(push)
  if (options.verifyTarget) {
    await readBack(work)
    await readReferrersBack(push)
  }
  await ensureListed(
    plan.referrers.filter(({ waitsFor }) => waitsFor === 'image'),
    push,
  )
  if (options.signImages) await signImages(plan, options.signImages, options, record.signatures, failures)
  await setTags(plan, options, record, failures, content)
  const inPlace = plan.manifests.filter(({ repository, document: { digest } }) =>
    failures.isNeeded({ repository, digest }),
  )
  await ensureReferrers(inPlace, opened, options)
  const sourceIndexes = plan.sourceIndexes.filter(({ repository, digest }) =>
    plan.images
      .filter(({ image, repository: own }) => own === repository && image.sourceDigest === digest)
      .every((planned) => failures.isWhole(planned)),
  )
  const beforeTag = beforeSourceIndexes(plan, options.signImages, record.signatures)
  await putSourceIndexes(sourceIndexes, opened, { ...options, beforeTag }, (index, outcome) =>
    record.setIndex(index, outcome),
  )
  await ensureListed(
    plan.referrers.filter((planned) => record.hasIndexOf(planned)),
    push,
  )
  for (const [planned, error] of failures.lostReferrers) record.setLost(planned, error)
  await failures.throwIfAny(record.arrived())
  return record.receipt(true)
}

/** Puts manifests, children before parents: a registry refuses an index whose children are missing. */
async function sendManifests(
  { plan, options, record, failures }: PushWork,
  content: ReturnType<typeof contentFor>,
): Promise<void> {
  const byRepository = Map.groupBy(plan.manifests, ({ repository }) => repository)
  await inParallel([...byRepository.values()], options, async (manifests, signal) => {
    for (const { document, repository, isPresent } of manifests) {
      const { digest, size } = document
      if (isPresent) {
        record.set(repository, digest, size, 'present-not-read')
      } else if (failures.isNeeded({ repository, digest })) {
        await failures.attempt({ repository, digest, size, kind: 'manifest' }, signal, async (own) => {
          await putWithContent({ repository, ref: digest, document }, content, own)
          record.set(repository, digest, size, 'uploaded')
        })
      }
    }
  })
}

/**
 * Reads everything back from every repository that needs it, because a registry that says it has a blob may have damaged
 * bytes. Skips what only incomplete images need.
 */
async function readBack({ plan, options, record, failures }: PushWork): Promise<void> {
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
    const descriptor = { digest, size }
    const sink = { restartable: true, write: async () => {} }
    await failures.attempt({ repository, digest, size, kind: 'blob' }, signal, async (own) => {
      await downloadBlob([repository], descriptor, sink, { client, signal: own, ...blobProgress(onEvent) })
      record.markRead(repository, digest)
      const name = `${shortHex(digest)} in ${repository.name}`
      onEvent?.({ type: 'item', name, bytes: size, outcome: 'confirmed', digest })
      images.done(partOf(digest, repository), 'confirmed')
    })
  })
  await inParallel(plan.manifests, options, async ({ document: { digest, size }, repository }, signal) => {
    if (!failures.isNeeded({ repository, digest })) return
    await failures.attempt({ repository, digest, size, kind: 'manifest' }, signal, async (own) => {
      await repository.fetchManifest(digest, own)
      record.markRead(repository, digest)
    })
  })
}

type PutContent = ReturnType<typeof contentFor>

type TagOptions = Pick<PushRun, 'moveTags' | 'beforeTags' | 'concurrency' | 'signal' | 'onEvent'>

/**
 * Sets the tags of the complete images, and confirms each by reading the manifest back by its tag and hashing it.
 */
async function setTags(
  plan: PushPlan,
  options: TagOptions,
  record: PushRecord,
  failures: PushFailures,
  content: PutContent,
): Promise<void> {
  const { onEvent } = options
  const whole = plan.images.filter((planned) => failures.isWhole(planned))
  if (whole.length === 0) return
  await options.beforeTags?.()
  const unique = Map.groupBy(whole, tagName)
  onEvent?.({ type: 'phase', phase: 'tag', items: unique.size + plan.sourceIndexes.length, bytes: 0 })
  await inParallel([...unique], options, async ([name, images], signal) => {
    const [planned] = images
    if (!planned) return
    // A tag that is right already is only read.
    const isRead = planned.tagNow === planned.image.digest
    const work = (own: AbortSignal): Promise<void> => setTag(name, planned, options, record, content, own)
    await failures.attemptFor(images, planned.repository, `tag ${planned.name.tag}`, signal, work, { isRead })
  })
}

async function setTag(
  name: string,
  planned: PlannedImage,
  { onEvent, moveTags }: TagOptions,
  record: PushRecord,
  content: PutContent,
  signal: AbortSignal,
): Promise<void> {
  const { image, repository, tagNow } = planned
  if (tagNow === image.digest && (await isTagged(planned, signal))) {
    record.setTag(planned, tagNow)
    record.confirmTag(planned)
    onEvent?.({ type: 'item', name, bytes: 0, outcome: 'tagged' })
    return
  }
  // Check again: hours may have passed since the plan was made.
  const before = (await repository.resolveManifest(planned.name.tag, signal))?.digest
  if (before !== image.digest) {
    if (before !== undefined && before !== tagNow && !moveTags)
      throw setBySomebody(name, before, image.digest)
    await putWithContent({ repository, ref: planned.name.tag, document: rootOf(planned) }, content, signal)
  }
  record.setTag(planned, before)
  const there = await repository.fetchManifest(planned.name.tag, signal)
  if (there.digest !== image.digest) throw notConfirmed(name, image.digest, there.digest)
  record.confirmTag(planned)
  onEvent?.({ type: 'item', name, bytes: 0, outcome: 'tagged' })
}

/** Whether a tag that was right when planning still is. Reads it back like the tags that are set. */
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
    `${name} was set to ${before} during this push; it would move to ${wanted}`,
    {
      hint: [
        'Find out who else pushes there. If the tag should move, allow that and push again; what has arrived is not sent again.',
        { id: 'move-tags' },
      ],
    },
  )
}

function rootOf({ image, graph }: PlannedImage): DocumentNode {
  const root = graph.closure.documents.get(image.digest)
  if (!root) throw new AirgapError('INTERNAL', `${image.source} has no manifest`)
  return root
}

function notConfirmed(name: string, expected: Digest, actual: Digest): AirgapError {
  return new AirgapError('CONTENT_MISMATCH', `${name} was set to ${expected}, but reads back as ${actual}`, {
    hint: 'Somebody else set the tag at the same time, or there is a cache in front of the registry. Push again.',
  })
}
