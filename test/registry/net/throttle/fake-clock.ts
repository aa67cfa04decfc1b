import type { Clock } from '../../../../src/registry/net/throttle/clock.ts'

/** A clock that stands still until it is moved, and whose dice always show the same. */
export class FakeClock implements Clock {
  dice = 0
  readonly #timers = new Set<{ at: number; done: () => void }>()
  #now: number

  constructor(now: number = Date.parse('2026-11-21T12:00:00Z')) {
    this.#now = now
  }

  now(): number {
    return this.#now
  }

  random(): number {
    return this.dice
  }

  after(ms: number, done: () => void): () => void {
    const timer = { at: this.#now + ms, done }
    this.#timers.add(timer)
    return () => void this.#timers.delete(timer)
  }

  /** When the next timer ends, counted from now; undefined where nobody waits. */
  get next(): number | undefined {
    const ends = [...this.#timers].map(({ at }) => at - this.#now)
    return ends.length === 0 ? undefined : Math.min(...ends)
  }

  /** Lets time pass, and everything happen that is due in it, in its order. */
  async pass(ms: number): Promise<void> {
    const until = this.#now + ms
    for (;;) {
      await settled()
      const [due] = [...this.#timers].filter(({ at }) => at <= until).toSorted((a, b) => a.at - b.at)
      if (!due) break
      this.#timers.delete(due)
      this.#now = Math.max(this.#now, due.at)
      due.done()
    }
    this.#now = until
    await settled()
  }
}

/** Lets everything happen that waits for nothing but its turn. */
async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
}
