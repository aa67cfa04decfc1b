/** So many broken transfers, without as many times ten that went well in between, mean that there are too many. */
const STRIKES = 2
const FORGIVEN = 0.1

/**
 * How many transfers at a time a host gets: fewer when it pushes back, and more again while it does not (additive
 * increase, multiplicative decrease; after a push-back from one on, as TCP's slow start).
 */
export class TransferWindow {
  readonly most: number
  #size: number
  /** Up to here growth is fast. */
  #threshold: number
  #strikes = 0

  constructor(most: number) {
    this.most = Math.max(1, most)
    this.#size = this.most
    this.#threshold = this.most
  }

  /** Transfers at a time; undefined as long as there is no reason to count. */
  get size(): number | undefined {
    return this.#size >= this.most ? undefined : Math.floor(this.#size)
  }

  /** Where it will grow to soon. */
  get threshold(): number {
    return Math.floor(this.#threshold)
  }

  /** It said that it is too much: one at a time, then up to half of what there was. */
  pushBack(): void {
    this.#threshold = Math.max(1, Math.floor(this.#size / 2))
    this.#size = 1
    this.#strikes = 0
  }

  /**
   * A transfer broke.
   * @returns whether this was one too many: half of what there was from now on.
   */
  broke(): boolean {
    this.#strikes += 1
    if (this.#strikes < STRIKES || this.#size <= 1) return false
    this.#threshold = Math.max(1, Math.floor(this.#size / 2))
    this.#size = this.#threshold
    this.#strikes = 0
    return true
  }

  /** A transfer went through, to its end. */
  complete(): void {
    this.#strikes = Math.max(0, this.#strikes - FORGIVEN)
    const step = this.#size < this.#threshold ? 1 : 1 / this.#size
    this.#size = Math.min(this.most, this.#size + step)
  }
}
