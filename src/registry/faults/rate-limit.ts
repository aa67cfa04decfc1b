import { shellWord } from '../../text.ts'
import { parseAmount } from '../net/throttle/quota.ts'
import { parseRetryAfter } from '../net/throttle/retry-after.ts'
import { formatSpan } from '../net/throttle/words.ts'
import { isAccount, type FailedAnswer, type Meaning } from './answer.ts'
import { quoted } from './quote.ts'
import { aheadText } from './times.ts'

/** 429: until when, whose limit it is, and the ways around it. */
export function rateLimited(answer: FailedAnswer, registry: string, now: number = Date.now()): Meaning {
  const wait = parseRetryAfter(answer.retryAfter, { date: answer.date, now })
  const { auth } = answer
  const rest = `use a mirror (--mirror ${shellWord(registry)}=HOST), or send fewer at a time (--concurrency 1)`
  return {
    code: 'RATE_LIMITED',
    cause: `too many requests${wait === undefined ? limitText(answer.rateLimit) : `, until ${aheadText(now + wait, now)}`}`,
    hint: isAccount(auth)
      ? `The limit of the account${auth.username === undefined ? '' : ` ${quoted(auth.username, 80)}`} is used up. Wait, ${rest}.`
      : `Wait, log in for a higher limit (airgap login ${shellWord(registry)}), ${rest}. Without a login everybody behind the same address is counted together.`,
  }
}

function limitText(header: string | undefined): string {
  const limit = parseAmount(header)
  if (limit?.window === undefined) return ''
  return ` (${limit.amount} in ${formatSpan(limit.window * 1000)} are allowed)`
}
