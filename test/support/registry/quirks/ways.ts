import { fault, type Reply } from '../../../../src/serve/registry/reply.ts'
import type { EmbeddedRequest } from '../registry.ts'
import type { Quirk } from '../quirks.ts'
import { signatureOf, type QuirkPart } from './part.ts'

const MARK = 'X-Signature'

const REDIRECTS: readonly [Quirk, number][] = [
  ['redirect-blobs', 307],
  ['redirect-302', 302],
  ['redirect-303', 303],
  ['redirect-308', 308],
]

/** Whether some quirk leads to another origin. */
export function isRedirecting(on: ReadonlySet<Quirk>): boolean {
  return on.has('referrers-redirect') || REDIRECTS.some(([quirk]) => on.has(quirk))
}

/** Where a blob's bytes are, and from which byte on they come. */
export function wayQuirks(on: ReadonlySet<Quirk>, redirectTo: string | undefined): QuirkPart {
  const misplaced = new WeakSet<EmbeddedRequest>()
  return {
    inside(request) {
      const { route, method, path, query } = request
      if (route.kind !== 'blob' || method !== 'GET') return undefined
      const signed = `?${MARK}=${signatureOf(route.digest)}`
      for (const [quirk, status] of REDIRECTS) {
        if (on.has(quirk)) return moved(status, `${redirectTo}${path}${signed}`)
      }
      if (on.has('redirect-relative') && !query.has(MARK))
        return moved(307, `../blobs/${route.digest}${signed}`)
      return ranged(request)
    },

    after(request, reply) {
      if (!misplaced.has(request) || reply.content?.kind !== 'blob') return reply
      const { size } = reply.content
      reply.headers['Content-Range'] = `bytes 0-${size - 1}/${size}`
      return { ...reply, status: 206 }
    },
  }

  function ranged(request: EmbeddedRequest): Reply | undefined {
    if (request.headers.range === undefined) return undefined
    if (on.has('range-416')) return fault(416, 'SIZE_INVALID', 'this range is not understood')
    if (on.has('range-wrong-start')) misplaced.add(request)
    if (on.has('ignore-range') || misplaced.has(request)) {
      request.headers = { ...request.headers, range: undefined }
    }
    return undefined
  }
}

function moved(status: number, location: string): Reply {
  return { status, headers: { Location: location, 'Content-Length': '0' } }
}
