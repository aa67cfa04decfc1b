import { AirgapError, type Origin } from '../../../errors.ts'
import type { Host } from './host.ts'
import type { Trouble } from './outage.ts'
import type { Hint } from '../../../hints.ts'

/** The statuses of a host that is too busy, and of a proxy whose registry does not answer. */
export const BUSY: ReadonlySet<number> = new Set([429, 503])
export const GATEWAY: ReadonlySet<number> = new Set([502, 504])

/** What to do about an error. */
export type Ruling = { kind: 'again' } | { kind: 'give-up'; error: AirgapError } | undefined

/** The state of a host at some time. */
export interface Mark {
  host: Host
  signsOfLife: number
}

/** Where an error came from, with that host's state. */
type Blame = Omit<Origin, 'host'> & { host: Host }

/** Decides by where errors came from what to do about them. */
export class Blames {
  readonly #hostOf: (name: string) => Host | undefined
  readonly #advice: (registry: string) => Hint[] | undefined

  /** @param advice what to do about a registry's rate limit. */
  constructor(hostOf: (name: string) => Host | undefined, advice: (registry: string) => Hint[] | undefined) {
    this.#hostOf = hostOf
    this.#advice = advice
  }

  /** What the request that met an error has to do, where the error concerns all requests to its host. */
  ruling(error: unknown): Ruling {
    const blame = this.#find(error)
    if (!blame || !(error instanceof AirgapError)) return undefined
    if (blame.host.isGivenUp) return { kind: 'give-up', error: this.#explained(error, blame) }
    return blame.isOfHost ? { kind: 'again' } : undefined
  }

  /** The state of an error's host now. */
  mark(error: unknown): Mark | undefined {
    const host = this.#find(error)?.host
    return host && { host, signsOfLife: host.signsOfLife }
  }

  /**
   * All attempts are used up. A host that has shown no sign of life since the first one is given up for all requests.
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

  /** The error, with the time and the advice for the host's limit. */
  #explained(error: AirgapError, { host, status, registry }: Blame): AirgapError {
    if (status === undefined || !BUSY.has(status)) return error
    const advice = status === 429 ? this.#advice(registry) : undefined
    const hints = [host.limitText ?? [], advice ?? error.hints].flat()
    return error.with({ hint: hints, cause: error })
  }
}

/** The trouble of a host, from an error. */
export function troubleOf({ code, reason, hints }: AirgapError): Trouble {
  return { code, reason, hint: hints }
}
