import { AirgapError } from '../../../errors.ts'
import type { Context } from '../../notices.ts'
import type { Host } from './host.ts'
import type { Trouble } from './outage.ts'

/** The answers of a host that is too busy, and those of a proxy whose registry does not answer. */
export const BUSY: ReadonlySet<number> = new Set([429, 503])
export const GATEWAY: ReadonlySet<number> = new Set([502, 504])

/** Which host an error came from. */
export interface Blame {
  host: Host
  registry: string
  /** What it answered; undefined where it did not. */
  status: number | undefined
  /** That host is held now, or given up: nobody else need find that out. */
  isOfHost: boolean
}

/** What is to be done about an error. */
export type Ruling = { kind: 'again' } | { kind: 'give-up'; error: AirgapError } | undefined

/** Where a host stood at some time. */
export interface Mark {
  host: Host
  signsOfLife: number
}

/** A chain of causes is followed so far. */
const MOST_CAUSES = 8

/** Which hosts errors came from, and what follows from that. */
export class Blames {
  readonly #blames = new WeakMap<Error, Blame>()
  readonly #advice: (registry: string) => string | undefined

  /** @param advice what somebody can do whom a registry has limited. */
  constructor(advice: (registry: string) => string | undefined) {
    this.#advice = advice
  }

  note<E extends Error>(error: E, blame: Blame): E {
    this.#blames.set(error, blame)
    return error
  }

  /** Whether an error concerns all requests to its host, and what follows from it for the one that got it. */
  ruling(error: unknown): Ruling {
    const blame = this.#find(error)
    if (!blame || !(error instanceof AirgapError)) return undefined
    if (blame.host.isGivenUp) return { kind: 'give-up', error: this.#explained(error, blame) }
    return blame.isOfHost ? { kind: 'again' } : undefined
  }

  /** Where the host of an error stands now. */
  mark(error: unknown): Mark | undefined {
    const host = this.#find(error)?.host
    return host && { host, signsOfLife: host.signsOfLife }
  }

  /**
   * All attempts are used up. A host that has not done anything well since the first of them is given up for all.
   * @returns the error to throw.
   */
  exhausted(error: AirgapError, first: Mark | undefined, context: Context): AirgapError {
    const blame = this.#find(error)
    if (!blame) return error
    const { host, status } = blame
    const isHosts = error.code === 'NETWORK' || (status !== undefined && GATEWAY.has(status))
    if (isHosts && first?.host === host && first.signsOfLife === host.signsOfLife) {
      host.giveUp(troubleOf(error, context))
    }
    return this.#explained(error, blame)
  }

  /** An error that is told in other words has the other as its cause. */
  #find(error: unknown): Blame | undefined {
    for (let at = error, depth = 0; at instanceof Error && depth < MOST_CAUSES; at = at.cause, depth++) {
      const blame = this.#blames.get(at)
      if (blame) return blame
    }
    return undefined
  }

  /** The error with what the host's limit means. */
  #explained(error: AirgapError, { host, status, registry }: Blame): AirgapError {
    if (status === undefined || !BUSY.has(status)) return error
    const { code, message, hint, problems } = error
    const hints = [host.limitText, (status === 429 ? this.#advice(registry) : undefined) ?? hint]
    return new AirgapError(code, message, {
      hint: hints.filter(Boolean).join(' ') || undefined,
      problems,
      cause: error,
    })
  }
}

/** What an error says of its host. */
export function troubleOf({ code, message, hint }: AirgapError, { operation }: Context): Trouble {
  const prefix = `cannot ${operation}: `
  return { code, reason: message.startsWith(prefix) ? message.slice(prefix.length) : message, hint }
}
