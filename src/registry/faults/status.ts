import { STATUS_CODES } from 'node:http'
import { AirgapError } from '../../errors.ts'
import { during, type Context } from '../notices.ts'
import { parseRetryAfter } from '../net/throttle/retry-after.ts'

import type { FailedAnswer } from './answer.ts'
import { meaningOf } from './meaning.ts'
import { readSaid } from './quote.ts'

/**
 * The error for an answer that is not a success: first the cause in our words, then who answered what, then the
 * answer's own words, quoted in parentheses. 401 is `UNAUTHORIZED` (with an accepted token: `DENIED`), 403 `DENIED`,
 * 404 `NOT_FOUND`, 429 `RATE_LIMITED`, all else `REGISTRY`. 408, 425, 429 and 5xx are marked as transient, unless the
 * registry says that its storage is full or cannot be written to.
 */
export function statusError(answer: FailedAnswer, context: Context): AirgapError {
  const { status, redirectedTo } = answer
  const said = readSaid(answer.body, answer.contentType)
  const { code, cause, hint, refusal, isTagMissing } = meaningOf(answer, said, context)
  const name = STATUS_CODES[status]
  const quote = said.text === '' ? '' : ` (${said.text})`
  const told = `${answeredBy(answer, context.registry)} answers ${status}${name === undefined ? '' : ` ${name}`}${quote}`
  const error = new AirgapError(code, cause === '' ? told : `${cause}: ${told}`, {
    ...during(context),
    hint,
    refusal,
    missing: isTagMissing ? { told } : undefined,
  })
  const mayPass = status === 408 || status === 425 || status === 429 || status >= 500
  if (mayPass && refusal === undefined) {
    return error.with({
      transience: { retryAfterMs: parseRetryAfter(answer.retryAfter, { date: answer.date }) },
    })
  }
  // A signed link may have expired; the registry gives a new one when asked again.
  if (redirectedTo !== undefined && (status === 401 || status === 403))
    return error.with({ transience: { attempts: 2 } })
  return error
}

function answeredBy({ redirectedTo, tokenService }: FailedAnswer, registry: string): string {
  if (tokenService !== undefined) return `${tokenService} (the token service of ${registry})`
  return redirectedTo === undefined ? registry : `${redirectedTo} (where ${registry} redirects to)`
}
