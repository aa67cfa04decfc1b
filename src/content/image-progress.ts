import type { ItemOutcome, OnEvent } from './events.ts'

/** An image, and the parts that it waits for in a phase, by digest or another name. */
export interface WaitingImage {
  name: string
  /** Bytes of the whole image. */
  bytes: number
  parts: Iterable<string>
  /** The outcome of the blobs that are not among the parts; `present` by default. */
  outcome?: ItemOutcome | undefined
}

/** Sorted by effort; all others come last. An image's outcome is the last of its parts' outcomes in this order. */
const ORDER: readonly ItemOutcome[] = ['present', 'mounted', 'resumed', 'reused']

/** Knows which images wait for which blobs, and reports each image when all its blobs are done. */
export class ImageProgress {
  readonly #onEvent: OnEvent | undefined
  readonly #waiting = new Map<string, Waiting[]>()
  readonly #complete: Waiting[] = []
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

  /** Reports the images that wait for nothing. Call it after the phase was announced. */
  begin(): void {
    for (const image of this.#complete.splice(0)) this.#tell(image)
  }

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
 * Sorts parts of images for transfer: image by image, so that some are complete long before the end. The image with the
 * largest part comes first, and its largest part first, so that no long transfer is left alone at the end.
 * @param imagesOf the images that a part belongs to; it comes with the first of them. Parts of no image come last.
 */
export function imageByImage<T, I>(
  parts: readonly T[],
  sizeOf: (part: T) => number,
  imagesOf: (part: T) => Iterable<I>,
): T[] {
  const largestFirst = parts.toSorted((a, b) => sizeOf(b) - sizeOf(a))
  // The largest part of an image decides its place.
  const places = new Map<I, number>()
  for (const part of largestFirst) {
    for (const image of imagesOf(part)) if (!places.has(image)) places.set(image, places.size)
  }
  // No spread: there may be more of them than a call takes arguments.
  const placeOf = (part: T): number => {
    let first = Infinity
    for (const image of imagesOf(part)) first = Math.min(first, places.get(image) ?? Infinity)
    return first
  }
  const groups = Map.groupBy(largestFirst, placeOf)
  return [...groups].toSorted(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, group]) => group)
}
