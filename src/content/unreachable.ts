import { AirgapError } from '../errors.ts'
import { transienceOf } from '../registry/net/retry.ts'

/** So many things in a row that could not be had, each after all its attempts, … */
const IN_A_ROW = 10
/** … over so long a time, in milliseconds: a short break is no reason to give anything up. */
const AT_LEAST_MS = 30_000

/**
 * Knows which registries have not been reached, or have had faults of their own, for so long that it makes no sense to go through everything else that
 * is to come from there, with all the waiting for each.
 */
export class Unreachable {
  readonly #rows = new Map<string, { count: number; since: number }>()
  readonly #gone = new Map<string, AirgapError>()

  /**
   * Does work that goes to registries, unless they are given up.
   * @throws what `work` throws; an error of the same code when it has not been tried.
   */
  async ask<T>(registries: readonly string[], work: () => Promise<T>): Promise<T> {
    const names = [...new Set(registries)].join(', ')
    const gone = this.#gone.get(names)
    if (gone) throw gone
    try {
      const result = await work()
      this.#rows.delete(names)
      return result
    } catch (error) {
      if (isOfRegistry(error)) this.#note(names, error)
      else this.#rows.delete(names)
      throw error
    }
  }

  /** Whether an error says that something was not tried. */
  isUntried(error: unknown): boolean {
    return [...this.#gone.values()].some((gone) => gone === error)
  }

  #note(names: string, { code }: AirgapError): void {
    const now = performance.now()
    const row = this.#rows.get(names) ?? { count: 0, since: now }
    row.count += 1
    this.#rows.set(names, row)
    if (row.count < IN_A_ROW || now - row.since < AT_LEAST_MS) return
    const message = `not tried, because all that came before it failed at ${names}, after all attempts`
    this.#gone.set(names, new AirgapError(code, message))
  }
}

/** Whether a registry could not be reached, or had a fault of its own (5xx), in every attempt. */
function isOfRegistry(error: unknown): error is AirgapError {
  if (!(error instanceof AirgapError)) return false
  return error.code === 'NETWORK' || (error.code === 'REGISTRY' && transienceOf(error) !== undefined)
}
