import { digestOf } from '../../../../src/oci/digest.ts'
import { fault, type FaultCode, type Reply } from '../../../../src/serve/registry/reply.ts'
import type { Quirk } from '../quirks.ts'
import { firstTime, type QuirkPart } from './part.ts'

const HTML = Buffer.from(
  '<!DOCTYPE html>\n<html><body><h1>Please log in to this network</h1></body></html>\n',
)
const OTHER_DIGEST = digestOf('something else')

const ONCE: readonly [Quirk, number, FaultCode, (() => string)?][] = [
  ['busy-once', 503, 'UNAVAILABLE', () => '0'],
  ['busy-date-once', 503, 'UNAVAILABLE', () => new Date().toUTCString()],
  ['rate-limit-once', 429, 'TOOMANYREQUESTS', () => '0'],
  ['timeout-408-once', 408, 'UNAVAILABLE'],
  ['too-early-425-once', 425, 'UNAVAILABLE'],
]

/** What any request may meet: refusals that pass, pages in the place of answers, headers that are not there. */
export function answerQuirks(on: ReadonlySet<Quirk>): QuirkPart {
  const once = ONCE.filter(([quirk]) => on.has(quirk)).map((entry) => ({ entry, seen: new Set<string>() }))
  return {
    front({ path, method, route }): Reply | undefined {
      if (on.has('html-200')) {
        const headers = { 'Content-Type': 'text/html', 'Content-Length': String(HTML.length) }
        return { status: 200, headers, body: HTML }
      }
      for (const { entry, seen } of once) {
        const [, status, code, retryAfter] = entry
        // Each upload has another path: they count as one, or none would ever get through.
        const key = route.kind === 'upload' ? `${route.repository} ${method}` : path
        if (!firstTime(seen, key)) continue
        return fault(status, code, 'not now', retryAfter ? { 'Retry-After': retryAfter() } : {})
      }
      if (on.has('head-405') && method === 'HEAD') {
        return fault(405, 'UNSUPPORTED', 'HEAD is not supported', { Allow: 'GET' })
      }
      return undefined
    },

    after(_, reply) {
      const { headers } = reply
      if (on.has('no-digest-header')) delete headers['Docker-Content-Digest']
      if (on.has('wrong-digest-header') && headers['Docker-Content-Digest'] !== undefined) {
        headers['Docker-Content-Digest'] = OTHER_DIGEST
      }
      return reply
    },
  }
}
