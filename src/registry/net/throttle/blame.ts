import { AirgapError, type Origin } from '../../../errors.ts'
import type { Host } from './host.ts'
import type { Trouble } from './outage.ts'
import type { Hint } from '../../../hints.ts'

/** The answers of a host that is too busy, and those of a proxy whose registry does not answer. */
export const BUSY: ReadonlySet<number> = new Set([429, 503])
export const GATEWAY: ReadonlySet<number> = new Set([502, 504])

/** What is to be done about an error. */
export type Ruling = { kind: 'again' } | { kind: 'give-up'; error: AirgapError } | undefined

/** Where a host stood at some time. */
export interface Mark {
  host: Host
  signsOfLife: number
}

/** Where an error came from, with the host itself. */
type Blame = Omit<Origin, 'host'> & { host: Host }

/** What follows from where errors came from. */
export class Blames {
  readonly #hostOf: (name: string) => Host | undefined
  readonly #advice: (registry: string) => Hint[] | undefined

  /** @param advice what somebody can do whom a registry has limited. */
  constructor(hostOf: (name: string) => Host | undefined, advice: (registry: string) => Hint[] | undefined) {
    this.#hostOf = hostOf
    this.#advice = advice
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
  exhausted(error: AirgapError, first: Mark | undefined): AirgapError {
    const blame = this.#find(error)
    if (!blame) return error
    const { host, status } = blame
    const isHosts = error.code === 'NETWORK' || (status !== undefined && GATEWAY.has(status))
    if (isHosts && first?.host === host && first.signsOfLife === host.signsOfLife) {
      host.giveUp(troubleOf(error))
    }
    return this.#explained(error, blame)
  }

  #find(error: unknown): Blame | undefined {
    const origin = error instanceof AirgapError ? error.origin : undefined
    const host = origin && this.#hostOf(origin.host)
    return host && { ...origin, host }
  }

  /** The error with what the host's limit means. */
  #explained(error: AirgapError, { host, status, registry }: Blame): AirgapError {
    if (status === undefined || !BUSY.has(status)) return error
    const advice = status === 429 ? this.#advice(registry) : undefined
    const hints = [host.limitText ?? [], advice ?? error.hints].flat()
    return error.with({ hint: hints, cause: error })
  }
}

/** What an error says of its host. */
export function troubleOf({ code, reason, hints }: AirgapError): Trouble {
  return { code, reason, hint: hints }
}
