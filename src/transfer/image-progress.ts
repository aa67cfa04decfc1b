import type { ItemOutcome, OnEvent } from './events.ts'

/** An image, and what it waits for in a phase: digests, or whatever else names its parts there. */
interface WaitingImage {
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
