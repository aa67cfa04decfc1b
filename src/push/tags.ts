import { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { OnEvent } from '../content/events.ts'
import type { DocumentNode } from '../content/graph.ts'
import { inParallel } from '../content/parallel.ts'
import { putWithContent, type contentFor } from './missing-content.ts'
import { tagName, type PlannedImage, type PushPlan } from './plan.ts'
import type { PushFailures } from './push-failures.ts'
import type { PushRecord } from './record.ts'

type PutContent = ReturnType<typeof contentFor>

interface TagOptions {
  /** Let tags move that point to another digest. */
  moveTags?: boolean
  /** Called once, before the first tag is set; where it fails, none is. */
  beforeTags?: () => Promise<void>
  concurrency?: number
  signal?: AbortSignal
  onEvent?: OnEvent
}

/**
 * Sets the tags of the images that lack nothing, and confirms each by reading the manifest back under it and hashing
 * it.
 */
export async function setTags(
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
    // What need not be set is only read.
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
  // Hours may have gone by since the plan was made.
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

function rootOf({ image, graph }: PlannedImage): DocumentNode {
  const root = graph.closure.documents.get(image.digest)
  if (!root) throw new AirgapError('INTERNAL', `${image.source} has no manifest`)
  return root
}

function notConfirmed(name: string, expected: Digest, actual: Digest): AirgapError {
  return new AirgapError('CONTENT_MISMATCH', `${name} was set to ${expected}, but reads back as ${actual}`, {
    hint: 'Somebody else has set the tag at the same time, or a cache stands in front of the registry. Push again.',
  })
}
