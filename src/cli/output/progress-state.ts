import type { Phase, TransferEvent } from '../../index.ts'

/** The rate is measured over this time. */
const WINDOW_MS = 10_000
/** Samples closer together than this are merged. */
const SAMPLE_MS = 200
/** A rate over less than this is not meaningful yet. */
const SETTLED_MS = 1500

export interface Done {
  done: number
  total: number
}

/** Phases that work on whole images, not on blobs. */
const OF_IMAGES: ReadonlySet<Phase> = new Set<Phase>(['resolve', 'referrers', 'upstream', 'tag'])

/** How far the current phase is. Within a phase no figure decreases, and none exceeds its total. */
export interface ProgressSnapshot {
  phase: Phase
  /** Undefined if the phase does not count images. */
  images: Done | undefined
  /** Undefined if the phase works on whole images. */
  blobs: Done | undefined
  bytes: Done
  /** Over the last 10 seconds; undefined while it would be a guess, and when all bytes are done. */
  bytesPerSecond: number | undefined
  /** Undefined if it cannot be estimated: at the beginning, while nothing comes in, and when all bytes are done. */
  secondsLeft: number | undefined
}

interface Sample {
  /** Milliseconds. */
  at: number
  bytes: number
}

/** Adds up an engine's events. Has no clock: callers pass the time, in milliseconds that never decrease. */
export class ProgressState {
  #phase: Phase | undefined
  #images = count(0)
  #blobs = count(0)
  #bytes = count(0)
  #samples: Sample[] = []

  apply(event: TransferEvent, now: number): void {
    switch (event.type) {
      case 'phase': {
        const isOfImages = OF_IMAGES.has(event.phase)
        this.#phase = event.phase
        this.#images = count(isOfImages ? event.items : (event.images ?? 0))
        this.#blobs = count(isOfImages ? 0 : event.items)
        this.#bytes = count(event.bytes)
        this.#samples = [{ at: now, bytes: 0 }]
        break
      }
      case 'more':
        this.#bytes.total += Math.max(0, event.bytes)
        break
      case 'progress':
        this.#bytes.raw += event.bytes
        advance(this.#bytes, this.#bytes.raw)
        this.#sample(now)
        break
      case 'item': {
        const counter = this.#blobs.total > 0 ? this.#blobs : this.#images
        advance(counter, counter.done + 1)
        break
      }
      case 'image':
        advance(this.#images, this.#images.done + 1)
        break
      case 'mirrors':
      case 'resume':
      case 'signing':
      case 'failed':
      case 'warning':
      case 'registry':
        break
    }
  }

  /** Undefined as long as there is nothing to do. */
  snapshot(now: number): ProgressSnapshot | undefined {
    const phase = this.#phase
    if (phase === undefined || (this.#blobs.total === 0 && this.#images.total === 0)) return undefined
    const left = this.#bytes.total - this.#bytes.done
    const rate = left > 0 ? this.#rate(now) : undefined
    return {
      phase,
      images: this.#images.total > 0 ? doneOf(this.#images) : undefined,
      blobs: this.#blobs.total > 0 ? doneOf(this.#blobs) : undefined,
      bytes: doneOf(this.#bytes),
      bytesPerSecond: rate,
      secondsLeft: rate !== undefined && rate > 0 ? Math.ceil(left / rate) : undefined,
    }
  }

  #sample(now: number): void {
    const last = this.#samples.at(-1)
    const bytes = this.#bytes.done
    // The first sample marks the beginning of the phase and is never merged.
    if (last && this.#samples.length > 1 && now - last.at < SAMPLE_MS) last.bytes = bytes
    else this.#samples.push({ at: now, bytes })
    this.#forget(now)
  }

  /** Drops samples older than the window, except the last one before it. */
  #forget(now: number): void {
    const first = this.#samples.findLastIndex(({ at }) => at <= now - WINDOW_MS)
    if (first > 0) this.#samples.splice(0, first)
  }

  #rate(now: number): number | undefined {
    this.#forget(now)
    const [first] = this.#samples
    if (!first || now - first.at < SETTLED_MS) return undefined
    return Math.round(((this.#bytes.done - first.bytes) / (now - first.at)) * 1000)
  }
}

interface Counter extends Done {
  /** The sum of the events, which may decrease. */
  raw: number
}

function count(total: number): Counter {
  return { done: 0, total: Math.max(0, total), raw: 0 }
}

function advance(counter: Counter, to: number): void {
  counter.done = Math.max(counter.done, Math.min(counter.total, to))
}

function doneOf({ done, total }: Counter): Done {
  return { done, total }
}
