import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { type Digest, digestFault, isDigest } from '../../oci/digest.ts'
import { isRepository, isTag } from '../../oci/reference.ts'

/** What a request's path names (OCI distribution-spec v1.1 § Endpoints). */
export type Route =
  | { kind: 'base' }
  | { kind: 'catalog' }
  | { kind: 'tags'; repository: string }
  | { kind: 'manifest'; repository: string; reference: string }
  | { kind: 'blob'; repository: string; digest: Digest }
  | { kind: 'uploads'; repository: string }
  | { kind: 'upload'; repository: string; id: string }
  | { kind: 'referrers'; repository: string; digest: Digest }
  | { kind: 'invalid'; code: 'NAME_INVALID' | 'DIGEST_INVALID' | 'TAG_INVALID'; message: string }
  | { kind: 'unknown' }

const UPLOAD_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * Parses a raw request path, without the query. Nothing is decoded or normalized, so `..`, `%2e`, `//` and the like never
 * reach a store: they are not valid in a repository, tag or digest.
 *
 * Repository names can contain `manifests`, `blobs` or `tags` as parts, so the path is parsed from its end.
 */
export function parseRoute(path: string): Route {
  if (path === '/v2/') return { kind: 'base' }
  if (path === '/v2/_catalog') return { kind: 'catalog' }
  if (!path.startsWith('/v2/')) return { kind: 'unknown' }
  const parts = path.slice('/v2/'.length).split('/')
  const last = parts.at(-1) ?? ''
  const verb = parts.at(-2)
  const before = (count: number): string => parts.slice(0, -count).join('/')

  if (verb === 'uploads' && parts.at(-3) === 'blobs') {
    const repository = before(3)
    if (last === '') return named(repository, { kind: 'uploads', repository })
    return UPLOAD_ID.test(last)
      ? named(repository, { kind: 'upload', repository, id: last })
      : { kind: 'unknown' }
  }
  const repository = before(2)
  switch (verb) {
    case 'tags':
      return last === 'list' ? named(repository, { kind: 'tags', repository }) : { kind: 'unknown' }
    case 'manifests':
      if (last.includes(':') ? isDigest(last) : isTag(last)) {
        return named(repository, { kind: 'manifest', repository, reference: last })
      }
      return last.includes(':')
        ? notADigest(last)
        : { kind: 'invalid', code: 'TAG_INVALID', message: 'not a tag' }
    case 'blobs':
    case 'referrers':
      if (!isDigest(last)) return notADigest(last)
      return named(repository, { kind: verb === 'blobs' ? 'blob' : 'referrers', repository, digest: last })
    default:
      return { kind: 'unknown' }
  }
}

function named(repository: string, route: Route): Route {
  if (isRepository(repository)) return route
  return { kind: 'invalid', code: 'NAME_INVALID', message: 'not a repository name' }
}

function notADigest(text: string): Route {
  return { kind: 'invalid', code: 'DIGEST_INVALID', message: digestFault(text) }
}

export interface RegistryRequest {
  method: string
  /** The raw path, without the query. */
  path: string
  query: URLSearchParams
  headers: IncomingHttpHeaders
  route: Route
  /** `http://host:port` by which the client reached this server, for absolute URLs in answers. */
  origin: string
  message: IncomingMessage
  entry: RequestLogEntry
}

/** One request in the log. Holds no secrets: no credentials, and only harmless query parameters. */
export interface RequestLogEntry {
  method: string
  path: string
  /** The query parameters, without those that could hold a secret. */
  query: Record<string, string>
  /** 0 until answered, and if the client went away before that. */
  status: number
  /** The scheme of the Authorization header, in lower case: `basic`, `bearer`; undefined without one. */
  authorization: string | undefined
  range: string | undefined
  /** The client's address. */
  remote: string
  /** What the client calls itself: any text. */
  userAgent: string | undefined
  /** Duration from the request's head to the end of the answer; 0 until then. */
  milliseconds: number
  /** Bytes of the bodies, without headers. */
  bytesSent: number
  bytesReceived: number
  /** A fault of the connection or of this server. */
  error?: string
}

const HARMLESS_PARAMETERS = new Set([
  'artifactType',
  'digest',
  'from',
  'last',
  'mount',
  'n',
  'ns',
  'scope',
  'service',
])

export function logEntry(message: IncomingMessage, path: string, query: URLSearchParams): RequestLogEntry {
  return {
    method: message.method ?? '',
    path,
    query: Object.fromEntries([...query].filter(([name]) => HARMLESS_PARAMETERS.has(name))),
    status: 0,
    authorization: /^[a-z]+/i.exec(message.headers.authorization ?? '')?.[0].toLowerCase(),
    range: message.headers.range,
    remote: message.socket.remoteAddress ?? '',
    userAgent: message.headers['user-agent'],
    milliseconds: 0,
    bytesSent: 0,
    bytesReceived: 0,
  }
}
