import type { RegistryNotice } from '../../index.ts'
import { limitAdvice } from '../../registry/net/throttle/quota.ts'
import { formatSpan, formatTime } from '../../bytes.ts'
import { formatDuration } from '../../bytes.ts'
import { escapeLine } from '../../text.ts'
import type { LogEntry } from './log.ts'
import { messageWith } from '../words/hints.ts'

/**
 * A notice of a registry client, as an entry for the log and as text for people.
 * @param now milliseconds since 1970; a time on another day is shown with its date.
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
          : 'retrying at once'
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
      const message = `${reason}; it is skipped for now and retried later`
      return { level: 'warning', event, message, registry, reason }
    }
    case 'slower': {
      const { type: event, registry, transfers, before } = notice
      const message = `${registry} is limited to ${transfers} ${transfers === 1 ? 'transfer' : 'transfers'} at a time for now, instead of ${before}`
      return { level: 'info', event, message, registry, transfers }
    }
    case 'quota':
      return describeQuota(notice)
    case 'insecure': {
      const { registry, how } = notice
      return { level: 'warning', event: 'insecure', message: insecureText(registry, how), registry, how }
    }
    case 'way': {
      const { type: event, ...facts } = notice
      return { level: 'info', event, message: wayText(notice), ...facts }
    }
    case 'note':
      return { level: 'info', event: 'note', message: messageWith(notice.message, notice.hints) }
    case 'warning':
      return { level: 'warning', event: 'warning', message: messageWith(notice.message, notice.hints) }
  }
}

function insecureText(host: string, how: 'plain-http' | 'unverified'): string {
  return how === 'plain-http'
    ? `${host} is contacted over plain HTTP: anybody on the way can read and change what is sent, including passwords`
    : `the certificate of ${host} is not checked: anybody on the way can impersonate it, and gets what is sent, including passwords`
}

function wayText({
  host,
  proxy,
  caFiles,
  clientCertificate,
}: Extract<RegistryNotice, { type: 'way' }>): string {
  return [
    `${host} is contacted ${proxy === undefined ? 'directly' : `through the proxy ${proxy}`}`,
    ...(caFiles.length === 0 ? [] : [`trusting ${caFiles.join(', ')}`]),
    ...(clientCertificate === undefined ? [] : [`showing ${clientCertificate}`]),
  ].join(', ')
}

function describeQuota(notice: Extract<RegistryNotice, { type: 'quota' }>): LogEntry {
  const { type: event, registry, remaining, limit, windowSeconds, source } = notice
  const left = `${remaining}${limit === undefined ? '' : ` of ${limit}`} pulls are left`
  const terms = [
    ...(windowSeconds === undefined ? [] : [`in ${formatSpan(windowSeconds * 1000)}`]),
    ...(source === undefined ? [] : [`counted for ${source}`]),
  ]
  const said = `${registry}: ${left}${terms.length === 0 ? '' : ` (${terms.join(', ')})`}`
  const message = messageWith(said, [limitAdvice(registry, source)])
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
