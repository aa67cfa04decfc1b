import { digestOf } from '../../../../src/oci/digest.ts'
import type { BrokenChunk } from '../uploads.ts'
import { fault, type Reply } from '../../../../src/serve/registry/reply.ts'
import type { UPLOAD_QUIRKS } from '../quirks.ts'
import type { QuirkPart } from './part.ts'
import type { EmbeddedRequest } from '../registry.ts'

type UploadQuirk = keyof typeof UPLOAD_QUIRKS

/** Bytes. */
const MAX_BODY = 1024 * 1024
const MIN_CHUNK = 64 * 1024
const STEP = '_step'
const TOO_LARGE = Buffer.from(
  '<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>nginx</body>\r\n</html>\r\n',
)

/** What becomes of a chunk that breaks off. */
export function brokenChunks(names: readonly string[]): BrokenChunk {
  if (names.includes('session-lost-on-drop')) return 'end-session'
  return names.includes('keep-partial-chunk') ? 'keep-what-came' : 'forget-chunk'
}

/** The part of the quirks that uploads see: see `QuirkSet`. */
export function uploadQuirks(on: ReadonlySet<string>, revokeTokens: () => void): QuirkPart {
  const has = (quirk: UploadQuirk): boolean => on.has(quirk)
  const chunks = new Map<string, number>()
  const small = new Set<string>()
  const refusedOnce = new Set<string>()
  const ranges = new Map<string, string>()
  const steps = new Map<string, number>()
  let hasRevoked = false

  function refuseChunk(request: EmbeddedRequest, id: string, length: number): Reply | undefined {
    const count = (chunks.get(id) ?? 0) + 1
    if (has('no-patch')) return fault(405, 'UNSUPPORTED', 'PATCH is not supported', { Allow: 'PUT' })
    if (has('max-body-416') && length > MAX_BODY) {
      return fault(416, 'SIZE_INVALID', 'the request body is too large: 1.00MiB is the limit')
    }
    const isMisplaced = has('upload-416-once') && count === 2 && !refusedOnce.has(id)
    if (has('upload-416-always') || isMisplaced) {
      refusedOnce.add(id)
      return fault(416, 'BLOB_UPLOAD_INVALID', 'not the next byte expected')
    }
    if (has('second-chunk-refused') && count > 1) {
      return fault(400, 'UNSUPPORTED', 'an upload has one chunk here')
    }
    if (has('chunk-min-length')) {
      if (small.has(id)) return fault(400, 'SIZE_INVALID', 'the chunk before was too small to be followed')
      if (length < MIN_CHUNK) small.add(id)
    }
    if (has('ignore-content-range')) request.headers = { ...request.headers, 'content-range': undefined }
    return undefined
  }

  return {
    inside(request) {
      const { route, method, headers, query } = request
      if (route.kind !== 'uploads' && route.kind !== 'upload') return undefined
      const length = Number(headers['content-length'] ?? 0)
      if (has('max-body-413-html') && length > MAX_BODY) {
        const type = { 'Content-Type': 'text/html', 'Content-Length': String(TOO_LARGE.length) }
        return { status: 413, headers: { ...type, Connection: 'close' }, body: TOO_LARGE }
      }
      if (route.kind === 'uploads') return undefined
      if (has('location-changes') && query.get(STEP) !== String(steps.get(route.id))) {
        return fault(404, 'BLOB_UPLOAD_INVALID', 'the upload is somewhere else')
      }
      if (method === 'GET' && has('no-upload-status')) {
        return fault(400, 'NAME_INVALID', 'invalid digest')
      }
      if (method === 'PUT' && length > 0 && has('no-monolithic-put')) {
        return fault(404, 'BLOB_UNKNOWN', 'blob unknown to registry')
      }
      return method === 'PATCH' ? refuseChunk(request, route.id, length) : undefined
    },

    after({ route, method }, reply) {
      const { headers, status } = reply
      const id = /\/blobs\/uploads\/([^/?]+)$/.exec(headers['Location'] ?? '')?.[1]
      if (status >= 200 && status < 300 && route.kind === 'upload') {
        if (method === 'PATCH') reply = afterChunk(reply, route.id)
        if (method === 'PUT') reply = afterCommit(reply)
      }
      if (id === undefined) return reply
      if (route.kind === 'uploads' && has('chunk-min-length')) {
        headers['OCI-Chunk-Min-Length'] = String(MIN_CHUNK)
      }
      if (has('range-bytes')) headers['Range'] = `bytes=${headers['Range']}`
      if (has('range-missing')) delete headers['Range']
      if (has('location-changes')) {
        const step = (steps.get(id) ?? 0) + 1
        steps.set(id, step)
        headers['Location'] += `?${STEP}=${step}`
      }
      if (has('upload-other-origin')) {
        headers['Location'] = headers['Location']?.replace('//127.0.0.1', '//localhost') ?? ''
      }
      return reply
    },
  }

  function afterChunk(reply: Reply, id: string): Reply {
    const { headers } = reply
    chunks.set(id, (chunks.get(id) ?? 0) + 1)
    if (has('token-expires-mid-upload') && !hasRevoked) {
      hasRevoked = true
      revokeTokens()
    }
    if (has('range-stale')) {
      const first = ranges.get(id) ?? headers['Range'] ?? ''
      ranges.set(id, first)
      headers['Range'] = first
    }
    return { ...reply, status: has('patch-201') ? 201 : has('patch-204') ? 204 : reply.status }
  }

  function afterCommit(reply: Reply): Reply {
    const { Location: _location, 'Docker-Content-Digest': _digest, ...others } = reply.headers
    if (has('put-bare-201')) return { ...reply, headers: others }
    if (has('put-other-digest')) {
      return { ...reply, headers: { ...reply.headers, 'Docker-Content-Digest': digestOf('something else') } }
    }
    if (has('put-200')) return { ...reply, status: 200 }
    if (has('put-204')) {
      const { 'Content-Length': _, ...rest } = reply.headers
      return { ...reply, status: 204, headers: rest }
    }
    return reply
  }
}
