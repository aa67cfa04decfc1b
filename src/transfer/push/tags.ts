import { AirgapError } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { OnEvent } from '../events.ts'
import { inParallel } from '../parallel.ts'
import { tagName, type PlannedImage, type PushPlan } from './plan.ts'
import type { PushFailures } from './push-failures.ts'
import type { PushRecord } from './record.ts'

interface TagOptions {
  /** Let tags move that point to another digest. */
  moveTags?: boolean
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
): Promise<void> {
  const { onEvent } = options
  const whole = plan.images.filter((planned) => failures.isWhole(planned))
  if (whole.length === 0) return
  const unique = Map.groupBy(whole, tagName)
  onEvent?.({ type: 'phase', phase: 'tag', items: unique.size, bytes: 0 })
  await inParallel([...unique], options, async ([name, images], signal) => {
    const [planned] = images
    if (!planned) return
    await failures.attemptFor(images, planned.repository, `tag ${planned.name.tag}`, signal, () =>
      setTag(name, planned, options, record, signal),
    )
  })
}

async function setTag(
  name: string,
  planned: PlannedImage,
  { onEvent, moveTags }: TagOptions,
  record: PushRecord,
  signal: AbortSignal,
): Promise<void> {
  const { image, repository, tagNow } = planned
  // Hours may have gone by since the plan was made.
  const before = (await repository.resolveManifest(planned.name.tag, signal))?.digest
  if (before !== image.digest) {
    if (before !== undefined && before !== tagNow && !moveTags)
      throw setBySomebody(name, before, image.digest)
    await repository.putManifest(planned.name.tag, rootOf(planned), signal)
  }
  record.setTag(planned, before)
  const there = await repository.fetchManifest(planned.name.tag, signal)
  if (there.digest !== image.digest) throw notConfirmed(name, image.digest, there.digest)
  record.markRead(repository, image.digest)
  onEvent?.({ type: 'item', name, bytes: 0, outcome: 'tagged' })
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

function rootOf({ image, graph }: PlannedImage): { bytes: Uint8Array; mediaType: string; digest: Digest } {
  const root = graph.closure.documents.get(image.digest)
  if (!root) throw new AirgapError('INTERNAL', `${image.source} has no manifest`)
  return root
}

function notConfirmed(name: string, expected: Digest, actual: Digest): AirgapError {
  return new AirgapError('CONTENT_MISMATCH', `${name} was set to ${expected}, but reads back as ${actual}`, {
    hint: 'Somebody else has set the tag at the same time, or a cache stands in front of the registry. Push again.',
  })
}
