import { AirgapError } from '../errors.ts'
import { digestOf } from '../oci/digest.ts'
import { fault, type Reply } from './reply.ts'
import type { RegistryRequest } from './request.ts'
import { UPLOAD_QUIRKS, uploadQuirks } from './upload-quirks.ts'

/** Misbehaviours seen in real registries, proxies and networks, that the embedded registry shows on demand. */
export const QUIRKS = {
  'no-digest-header': 'No answer carries Docker-Content-Digest.',
  'wrong-digest-header': 'Docker-Content-Digest is a valid digest of something else, in every answer.',
  'mount-401': 'A request to mount a blob is answered 401 without a challenge, as Harbor does.',
  'mount-202': 'A request to mount a blob always opens an upload session instead.',
  'relative-location': 'Location headers are paths, not full URLs.',
  'location-with-query': 'Upload Locations carry a query, and requests that drop it are refused.',
  'head-405': 'HEAD is refused everywhere.',
  'wrong-content-length': 'A blob GET closes the connection one byte before the announced end, every time.',
  'truncate-once':
    'The first GET of each blob is cut half-way by destroying the connection; later ones are whole.',
  'corrupt-blob': 'The middle byte of each blob is changed in GETs.',
  'corrupt-manifest': 'One byte of each manifest is changed in GETs; it stays JSON and names another digest.',
  'html-200': 'Everything is answered with an HTML page and status 200, as captive portals do.',
  'endless-body': 'A manifest GET streams blanks and never ends.',
  'busy-once': 'The first request to each path is answered 503 with Retry-After: 0.',
  'rate-limit-once': 'The first request to each path is answered 429 with Retry-After: 0.',
  'ignore-range': 'Range headers are ignored: 200 with the whole blob.',
  'redirect-blobs': 'A blob GET is answered 307 to the same path, with a query, at the option redirectTo.',
  'stored-blob-empty':
    'Every blob that is there has the right digest header and length 0, as in a damaged store.',
  ...UPLOAD_QUIRKS,
} as const

export type Quirk = keyof typeof QUIRKS

export interface QuirkSet {
  /** Before anything else, authentication included: an answer, or undefined to go on. */
  front(request: RegistryRequest): Reply | undefined
  /** After authentication: an answer, or undefined to go on. May take things out of the request. */
  inside(request: RegistryRequest): Reply | undefined
  /** A last look at what is about to be sent. */
  after(request: RegistryRequest, reply: Reply): Reply
}

const BLANKS = Buffer.alloc(64 * 1024, ' ')
const HTML = Buffer.from(
  '<!DOCTYPE html>\n<html><body><h1>Please log in to this network</h1></body></html>\n',
)
const OTHER_DIGEST = digestOf('something else')
const STATE = '_state'

/**
 * @param names what to show; state such as "the first request" is kept per set.
 * @param redirectTo origin (`http://host:port`) for `redirect-blobs`.
 * @param revokeTokens makes all tokens given out so far worthless.
 * @throws AirgapError `USAGE` where that is missing.
 */
export function quirkSet(
  names: readonly Quirk[],
  redirectTo: string | undefined,
  revokeTokens: () => void = () => {},
): QuirkSet {
  const on = new Set<Quirk>(names)
  const uploads = uploadQuirks(on, revokeTokens)
  if (on.has('redirect-blobs') && redirectTo === undefined) {
    throw new AirgapError('USAGE', 'the quirk redirect-blobs needs the option redirectTo')
  }
  const busy = new Set<string>()
  const limited = new Set<string>()
  const cut = new Set<string>()
  return {
    front(request) {
      if (on.has('html-200')) {
        return {
          status: 200,
          headers: { 'Content-Type': 'text/html', 'Content-Length': String(HTML.length) },
          body: HTML,
        }
      }
      if (on.has('busy-once') && firstTime(busy, request.path)) {
        return fault(503, 'UNAVAILABLE', 'busy', { 'Retry-After': '0' })
      }
      if (on.has('rate-limit-once') && firstTime(limited, request.path)) {
        return fault(429, 'TOOMANYREQUESTS', 'too many requests', { 'Retry-After': '0' })
      }
      if (on.has('head-405') && request.method === 'HEAD') {
        return fault(405, 'UNSUPPORTED', 'HEAD is not supported', { Allow: 'GET' })
      }
      return undefined
    },

    inside(request) {
      const { route, method, query } = request
      const refusal = uploads.inside(request)
      if (refusal) return refusal
      if (route.kind === 'uploads' && query.has('mount')) {
        if (on.has('mount-401')) return fault(401, 'UNAUTHORIZED', 'project not found')
        if (on.has('mount-202')) {
          query.delete('mount')
          query.delete('from')
        }
      }
      if (
        route.kind === 'upload' &&
        on.has('location-with-query') &&
        query.get(STATE) !== stateOf(route.id)
      ) {
        return fault(400, 'BLOB_UPLOAD_INVALID', 'the upload state is missing from the URL')
      }
      if (route.kind === 'blob' && method === 'GET') {
        if (on.has('redirect-blobs')) {
          const Location = `${redirectTo}${request.path}?X-Signature=${stateOf(route.digest)}`
          return { status: 307, headers: { Location, 'Content-Length': '0' } }
        }
        if (on.has('ignore-range')) request.headers = { ...request.headers, range: undefined }
      }
      if (route.kind === 'manifest' && method === 'GET' && on.has('endless-body')) {
        return { status: 200, headers: { 'Content-Type': 'application/json' }, body: endless }
      }
      return undefined
    },

    after(request, given) {
      let reply: Reply = uploads.after(request, { ...given, headers: { ...given.headers } })
      const { headers } = reply
      if (on.has('no-digest-header')) delete headers['Docker-Content-Digest']
      if (on.has('wrong-digest-header') && headers['Docker-Content-Digest'] !== undefined) {
        headers['Docker-Content-Digest'] = OTHER_DIGEST
      }
      const upload = /\/blobs\/uploads\/([^/?]+)$/.exec(headers['Location'] ?? '')?.[1]
      if (on.has('location-with-query') && upload !== undefined) {
        headers['Location'] += `?${new URLSearchParams({ [STATE]: stateOf(upload) }).toString()}`
      }
      if (on.has('relative-location') && headers['Location']?.startsWith(request.origin)) {
        headers['Location'] = headers['Location'].slice(request.origin.length)
      }
      if (reply.content?.kind === 'manifest' && on.has('corrupt-manifest')) {
        reply = { ...reply, body: withOtherDigest(reply.body as Uint8Array) }
      }
      return reply.content?.kind === 'blob' ? spoilBlob(request, reply) : reply
    },
  }

  function spoilBlob(request: RegistryRequest, reply: Reply): Reply {
    const { headers, content, body } = reply
    if (!content || typeof body !== 'function') return reply
    if (on.has('stored-blob-empty')) {
      const { 'Content-Range': _, ...others } = headers
      return { status: 200, headers: { ...others, 'Content-Length': '0' } }
    }
    if (request.method !== 'GET') return reply
    const length = Number(headers['Content-Length'])
    if (on.has('corrupt-blob')) {
      const at = Math.floor(content.size / 2) - content.offset
      reply = { ...reply, body: () => withFlippedByte(body(), at) }
    }
    if (on.has('truncate-once') && firstTime(cut, request.path)) {
      return { ...reply, breakAfter: Math.floor(length / 2) }
    }
    if (on.has('wrong-content-length')) {
      const source = reply.body as () => AsyncIterable<Uint8Array>
      return {
        ...reply,
        headers: { ...headers, Connection: 'close' },
        body: () => shortened(source(), Math.max(0, length - 1)),
      }
    }
    return reply
  }
}

function firstTime(seen: Set<string>, key: string): boolean {
  if (seen.has(key)) return false
  seen.add(key)
  return true
}

/** Holds characters that must be escaped in a query, as real states and signatures do. */
function stateOf(id: string): string {
  return `${Buffer.from(id).toString('base64')}=/+`.slice(-24)
}

async function* endless(): AsyncGenerator<Uint8Array> {
  for (;;) yield BLANKS
}

async function* withFlippedByte(source: AsyncIterable<Uint8Array>, at: number): AsyncGenerator<Uint8Array> {
  let offset = 0
  for await (const chunk of source) {
    const inside = at - offset
    offset += chunk.length
    if (inside < 0 || inside >= chunk.length) {
      yield chunk
      continue
    }
    const copy = Buffer.from(chunk)
    copy[inside] = (copy[inside] ?? 0) ^ 0xff
    yield copy
  }
}

async function* shortened(source: AsyncIterable<Uint8Array>, length: number): AsyncGenerator<Uint8Array> {
  let left = length
  for await (const chunk of source) {
    if (left === 0) return
    const part = chunk.subarray(0, left)
    left -= part.length
    yield part
  }
}

function withOtherDigest(bytes: Uint8Array): Uint8Array {
  const copy = Buffer.from(bytes)
  const at = copy.indexOf('sha256:') + 'sha256:'.length
  copy[at] = copy[at] === 0x30 ? 0x31 : 0x30
  return copy
}
