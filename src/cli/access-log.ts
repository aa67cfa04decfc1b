import type { RequestLogEntry } from '../server/request.ts'
import { escapeLine } from './format.ts'

/** Longer foreign text says nothing more, and fills disks. */
const MAX_TEXT = 300

/** One line for one request, all foreign text in it escaped. */
export function accessLine(entry: RequestLogEntry, now: Date): string {
  const query = new URLSearchParams(entry.query).toString()
  const parts = [
    now.toISOString(),
    entry.remote,
    entry.method,
    short(query === '' ? entry.path : `${entry.path}?${query}`),
    ...(entry.range === undefined ? [] : [short(entry.range)]),
    entry.status === 0 ? '-' : String(entry.status),
    `${entry.bytesSent} B`,
    `${Math.round(entry.milliseconds)} ms`,
    JSON.stringify(short(entry.userAgent ?? '')),
    ...(entry.error === undefined ? [] : [short(entry.error)]),
  ]
  return escapeLine(parts.join(' '))
}

/** One line for a client that came no further than the TLS handshake. */
export function handshakeLine(remote: string | undefined, message: string, now: Date): string {
  const reason = short(message.trim().split('\n', 1)[0] ?? '')
  return escapeLine(
    `${now.toISOString()} ${remote ?? '-'} no TLS connection: ${reason} (does the client trust the certificate?)`,
  )
}

function short(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)}…`
}
