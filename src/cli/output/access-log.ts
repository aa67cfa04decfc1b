import type { RequestLogEntry } from '../../index.ts'
import { escapeLine } from '../../text.ts'
import { log as standardError, type Log, type LogEntry } from './log.ts'

/** Longer text from clients says nothing more, and fills disks. */
const MAX_TEXT = 300
/** More than the longest possible repository name with a digest and `?ns=`. */
const MAX_PATH = 1000

/** Logs a finished request: an event `request`, or one line that begins with the time. */
export function logRequest(entry: RequestLogEntry, log: Log = standardError): void {
  const { method, status, bytesSent: bytes, range, userAgent, error } = entry
  const query = new URLSearchParams(entry.query).toString()
  const facts = {
    ...(entry.remote === '' ? {} : { remote: entry.remote }),
    method,
    path: short(query === '' ? entry.path : `${entry.path}?${query}`, MAX_PATH),
    ...(range === undefined ? {} : { range: short(range) }),
    ...(status === 0 ? {} : { status }),
    bytes,
    milliseconds: Math.round(entry.milliseconds),
    ...(userAgent === undefined ? {} : { userAgent: short(userAgent) }),
    ...(error === undefined ? {} : { error: short(error) }),
  }
  const parts = [
    facts.remote ?? '-',
    method,
    facts.path,
    ...(facts.range === undefined ? [] : [facts.range]),
    facts.status ?? '-',
    `${bytes} B`,
    `${facts.milliseconds} ms`,
    JSON.stringify(facts.userAgent ?? ''),
    ...(facts.error === undefined ? [] : [facts.error]),
  ]
  write(log, { level: 'info', event: 'request', message: parts.join(' '), ...facts })
}

/** Logs that a client's TLS handshake failed. */
export function logHandshakeFault(
  remote: string | undefined,
  message: string,
  log: Log = standardError,
): void {
  const error = short(message.trim().split('\n', 1)[0] ?? '')
  write(log, {
    level: 'info',
    event: 'handshake',
    message: `${remote ?? '-'} no TLS connection: ${error} (does the client trust the certificate?)`,
    ...(remote === undefined ? {} : { remote }),
    error,
  })
}

function write(log: Log, entry: LogEntry): void {
  log.write(entry, `${new Date().toISOString()} ${escapeLine(entry.message)}`)
}

function short(text: string, limit = MAX_TEXT): string {
  return text.length <= limit ? text : `${text.slice(0, limit)}…`
}
