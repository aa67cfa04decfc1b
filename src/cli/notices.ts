import type { RegistryNotice } from '../registry/notices.ts'
import { formatSpan, formatTime } from '../registry/pressure/words.ts'
import { limitAdvice } from '../registry/pressure/quota.ts'
import { escapeLine, formatDuration } from './format.ts'
import type { LogEntry } from './log.ts'

/**
 * What a registry client tells, as a line of the log and as text for people.
 * @param now milliseconds since 1970, for the day that a time is on.
 */
export function noticeLine(notice: RegistryNotice, now: number): { entry: LogEntry; text: string } {
  const { message, ...facts } = describe(notice, now)
  const entry: LogEntry = { ...facts, message }
  return { entry, text: `${entry.level === 'warning' ? 'Warning: ' : ''}${escapeLine(message)}` }
}

function describe(notice: RegistryNotice, now: number): LogEntry {
  switch (notice.type) {
    case 'retry': {
      const { type: event, delayMs: delayMilliseconds, ...others } = notice
      const wait = delayMilliseconds >= 1000 ? ` in ${formatDuration(delayMilliseconds)}` : ''
      const message = `Retrying${wait}: ${notice.reason}`
      return { level: 'info', event, message, ...others, delayMilliseconds }
    }
    case 'held': {
      const { type: event, registry, status, reason, delayMs, until } = notice
      const wait =
        delayMs >= 1000
          ? `waiting ${formatDuration(delayMs)}, until ${formatTime(until, now)}`
          : 'trying again at once'
      return {
        level: 'info',
        event,
        message: `${reason}; ${wait}`,
        registry,
        ...(status === undefined ? {} : { status }),
        delayMilliseconds: delayMs,
        until: new Date(until).toISOString(),
      }
    }
    case 'unavailable': {
      const { type: event, registry, reason } = notice
      const message = `${reason}; it is left out for now, and asked again later`
      return { level: 'warning', event, message, registry, reason }
    }
    case 'slower': {
      const { type: event, registry, transfers, before } = notice
      const message = `${registry} gets ${transfers} ${transfers === 1 ? 'transfer' : 'transfers'} at a time for now, instead of ${before}`
      return { level: 'info', event, message, registry, transfers }
    }
    case 'quota':
      return describeQuota(notice)
    case 'insecure': {
      const { registry } = notice
      const message = `${registry} is spoken to without checking who it is`
      return { level: 'warning', event: 'insecure', message, registry }
    }
    case 'warning':
      return { level: 'warning', event: 'warning', message: notice.message }
  }
}

function describeQuota(notice: Extract<RegistryNotice, { type: 'quota' }>): LogEntry {
  const { type: event, registry, remaining, limit, windowSeconds, source } = notice
  const left = `${remaining}${limit === undefined ? '' : ` of ${limit}`} pulls are left`
  const terms = [
    ...(windowSeconds === undefined ? [] : [`in ${formatSpan(windowSeconds * 1000)}`]),
    ...(source === undefined ? [] : [`counted for ${source}`]),
  ]
  const message = `${registry}: ${left}${terms.length === 0 ? '' : ` (${terms.join(', ')})`}. ${limitAdvice(registry, source)}`
  return {
    level: 'warning',
    event,
    message,
    registry,
    remaining,
    ...(limit === undefined ? {} : { limit }),
    ...(windowSeconds === undefined ? {} : { windowSeconds }),
  }
}
