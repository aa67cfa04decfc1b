import type { IncomingHttpHeaders } from 'node:http'
import { isIP } from 'node:net'
import { isDockerHub } from '../hosts.ts'
import type { OnNotice } from '../../notices.ts'
import type { Hint } from '../../../hints.ts'
import { formatSpan } from '../../../bytes.ts'

/** How much of a registry's pull limit is left, as Docker Hub reports it. */
export interface Quota {
  limit: number | undefined
  remaining: number
  /** Seconds that the limit counts over. */
  window: number | undefined
  /** Who the limit is counted for: an address for anonymous pulls, else an account's number. */
  source: string | undefined
}

/** Reads `ratelimit-limit: 100;w=21600`, `ratelimit-remaining: 7;w=21600` and `docker-ratelimit-source`. */
export function parseQuota(headers: IncomingHttpHeaders): Quota | undefined {
  const remaining = parseAmount(headers['ratelimit-remaining'])
  if (remaining === undefined) return undefined
  const limit = parseAmount(headers['ratelimit-limit'])
  const source = oneOf(headers['docker-ratelimit-source'])?.trim()
  return {
    limit: limit?.amount,
    remaining: remaining.amount,
    window: remaining.window ?? limit?.window,
    source: source !== undefined && /^[0-9A-Za-z.:-]{1,64}$/.test(source) ? source : undefined,
  }
}

/** An amount and the seconds that it counts over: Docker Hub's `100;w=21600`. */
export function parseAmount(
  header: string | string[] | undefined,
): { amount: number; window: number | undefined } | undefined {
  const match = /^\s*([0-9]{1,9})\s*(?:;\s*w=([0-9]{1,9})\s*)?$/.exec(oneOf(header) ?? '')
  if (!match) return undefined
  return { amount: Number(match[1]), window: match[2] === undefined ? undefined : Number(match[2]) }
}

function oneOf(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header
}

const LOW_SHARE = 0.2
const LOW = 10
const SINGLE_DIGITS = 9

/** Decides when to report: once when little is left, and once more when less than ten are left. */
class QuotaWatch {
  #told: 'nothing' | 'low' | 'last' = 'nothing'

  /** @returns whether to report this. */
  isNews({ limit, remaining }: Quota): boolean {
    const level =
      remaining <= SINGLE_DIGITS
        ? 'last'
        : remaining <= LOW || (limit !== undefined && remaining <= limit * LOW_SHARE)
          ? 'low'
          : 'nothing'
    if (level === 'nothing' || this.#told === 'last' || level === this.#told) return false
    this.#told = level
    return true
  }
}

/** What registries have said about their limits. */
export class Quotas {
  readonly #known = new Map<string, { watch: QuotaWatch; last: Quota }>()
  readonly #onNotice: OnNotice

  constructor(onNotice: OnNotice) {
    this.#onNotice = onNotice
  }

  /** Reads an answer's headers, and reports a quota that runs low. */
  see(headers: IncomingHttpHeaders, registry: string): void {
    const quota = parseQuota(headers)
    if (!quota) return
    const watch = this.#known.get(registry)?.watch ?? new QuotaWatch()
    this.#known.set(registry, { watch, last: quota })
    if (!watch.isNews(quota)) return
    const { limit, remaining, window, source } = quota
    this.#onNotice({ type: 'quota', registry, remaining, limit, windowSeconds: window, source })
  }

  /** What to do about a registry's rate limit; undefined where the registry has not said what the limit is. */
  advice(registry: string): Hint[] | undefined {
    const quota = this.#known.get(registry)?.last
    if (!quota) return undefined
    const limit =
      quota.limit === undefined || quota.window === undefined
        ? isDockerHub(registry) && 'Docker Hub counts pulls over six hours.'
        : `The limit is ${quota.limit} pulls in ${formatSpan(quota.window * 1000)}, and frees up bit by bit.`
    return [...(limit === false ? [] : [limit]), limitAdvice(registry, quota.source)]
  }
}

/**
 * What to do about a limit.
 * @param source who the registry counts it for; an account's number means that the user has logged in already.
 */
export function limitAdvice(registry: string, source: string | undefined): Hint {
  return { id: source !== undefined && isIP(source) === 0 ? 'other-account' : 'higher-limit', registry }
}
