import { formatDuration } from '../../duration.ts'
import { parseRetryAfter } from '../pressure/retry-after.ts'
import { isAccount, type FailedAnswer, type Meaning } from './answer.ts'
import { quoted } from './quote.ts'
import { aheadText } from './times.ts'

/** 429: until when, whose limit it is, and the ways around it. */
export function rateLimited(answer: FailedAnswer, registry: string, now: number = Date.now()): Meaning {
  const wait = parseRetryAfter(answer.retryAfter, { date: answer.date, now })
  const { auth } = answer
  const rest = `use a mirror (--mirror ${registry}=HOST), or send fewer at a time (--concurrency 1)`
  return {
    code: 'RATE_LIMITED',
    cause: `too many requests${wait === undefined ? limitText(answer.rateLimit) : `, until ${aheadText(now + wait, now)}`}`,
    hint: isAccount(auth)
      ? `The limit of the account${auth.username === undefined ? '' : ` ${quoted(auth.username, 80)}`} is used up. Wait, ${rest}.`
      : `Wait, log in for a higher limit (airgap login ${registry}), ${rest}. Without a login everybody behind the same address is counted together.`,
  }
}

/** Docker Hub's `100;w=21600`; nothing where the header is of no such form. */
function limitText(header: string | undefined): string {
  const match = /^([0-9]{1,9});w=([0-9]{1,9})$/.exec(header?.trim() ?? '')
  return match ? ` (${match[1]} in ${formatDuration(Number(match[2]) * 1000)} are allowed)` : ''
}
