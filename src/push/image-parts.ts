import type { Digest } from '../oci/digest.ts'
import type { Repository } from '../registry/repository.ts'
import type { OnEvent } from '../content/events.ts'
import { ImageProgress } from '../content/image-progress.ts'
import type { PushPlan } from './planned.ts'

/**
 * The progress of a plan's images in a phase, counted by their blobs.
 * @param partOf the key of an image's blob in the phase.
 */
export function imagesIn(
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
