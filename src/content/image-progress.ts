import type { ItemOutcome, OnEvent } from './events.ts'

/** An image, and what it waits for in a phase: digests, or whatever else names its parts there. */
export interface WaitingImage {
  name: string
  /** Bytes of the whole image. */
  bytes: number
  parts: Iterable<string>
  /** What became of what is not among the parts; `present` where left out. */
  outcome?: ItemOutcome | undefined
}

/** The more an image took, the further behind: the outcome of an image is the last of its parts' outcomes. */
const ORDER: readonly ItemOutcome[] = ['present', 'mounted', 'resumed', 'reused']

/** Knows which images wait for which blobs, and tells of each image when all of them are done. */
export class ImageProgress {
  readonly #onEvent: OnEvent | undefined
  readonly #waiting = new Map<string, Waiting[]>()
  readonly #complete: Waiting[] = []
  /** How many images there are. */
  readonly count: number

  constructor(images: Iterable<WaitingImage>, onEvent: OnEvent | undefined) {
    this.#onEvent = onEvent
    let count = 0
    for (const { name, bytes, parts, outcome } of images) {
      const left = new Set(parts)
      const image: Waiting = { name, bytes, left: left.size, outcome: outcome ?? 'present' }
      if (left.size === 0) this.#complete.push(image)
      for (const part of left) {
        const others = this.#waiting.get(part)
        if (others) others.push(image)
        else this.#waiting.set(part, [image])
      }
      count += 1
    }
    this.count = count
  }

  /** Tells of the images that wait for nothing; to be called when the phase has been announced. */
  begin(): void {
    for (const image of this.#complete.splice(0)) this.#tell(image)
  }

  /** A part is done. */
  done(part: string, outcome: ItemOutcome): void {
    for (const image of this.#waiting.get(part) ?? []) {
      if (rank(outcome) > rank(image.outcome)) image.outcome = outcome
      image.left -= 1
      if (image.left === 0) this.#tell(image)
    }
    this.#waiting.delete(part)
  }

  #tell({ name, bytes, outcome }: Waiting): void {
    this.#onEvent?.({ type: 'image', name, bytes, outcome })
  }
}

interface Waiting {
  name: string
  bytes: number
  left: number
  outcome: ItemOutcome
}

function rank(outcome: ItemOutcome): number {
  const at = ORDER.indexOf(outcome)
  return at < 0 ? ORDER.length : at
}

/**
 * Parts of images in a good order to work on them: image by image, so that some are complete long before the end; the
 * one with the largest part first, and its largest part first, so that no long transfer is left alone at the end.
 * @param imagesOf to whom a part belongs: it comes with the first of them. What belongs to none comes last.
 */
export function imageByImage<T, I>(
  parts: readonly T[],
  sizeOf: (part: T) => number,
  imagesOf: (part: T) => Iterable<I>,
): T[] {
  const largestFirst = parts.toSorted((a, b) => sizeOf(b) - sizeOf(a))
  // An image takes its place when its largest part comes.
  const places = new Map<I, number>()
  for (const part of largestFirst) {
    for (const image of imagesOf(part)) if (!places.has(image)) places.set(image, places.size)
  }
  // Not spread into arguments: there may be more of them than a call can take.
  const placeOf = (part: T): number => {
    let first = Infinity
    for (const image of imagesOf(part)) first = Math.min(first, places.get(image) ?? Infinity)
    return first
  }
  const groups = Map.groupBy(largestFirst, placeOf)
  return [...groups].toSorted(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, group]) => group)
}
