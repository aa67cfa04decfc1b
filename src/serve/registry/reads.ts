import type { Digest } from '../../oci/digest.ts'
import { fault, json, type Reply } from './reply.ts'
import type { RegistryRequest } from './request.ts'
import type { ContentStore } from './store.ts'
import { OCI_INDEX } from '../../oci/media-types.ts'

const DEFAULT_PAGE = 1000
const MAX_PAGE = 10_000

/** `GET /v2/<name>/tags/list` (distribution-spec § Listing Tags). */
export async function listTags(
  request: RegistryRequest,
  repository: string,
  store: ContentStore,
): Promise<Reply> {
  const tags = await store.tags(repository)
  if (!tags) return fault(404, 'NAME_UNKNOWN', `there is no repository ${repository}`)
  return page(request, tags, (part) => ({ name: repository, tags: part }))
}

/** `GET /v2/_catalog`, an extension of Docker's registry. */
export async function listRepositories(request: RegistryRequest, store: ContentStore): Promise<Reply> {
  return page(request, await store.repositories(), (part) => ({ repositories: part }))
}

function page(request: RegistryRequest, sorted: string[], shape: (part: string[]) => object): Reply {
  const wanted = request.query.get('n')
  if (wanted !== null && !/^\d{1,9}$/.test(wanted)) {
    return fault(400, 'PAGINATION_NUMBER_INVALID', 'n has to be a whole number')
  }
  const count = Math.min(wanted === null ? DEFAULT_PAGE : Number(wanted), MAX_PAGE)
  const last = request.query.get('last') ?? ''
  const rest = sorted.filter((item) => item > last)
  const part = rest.slice(0, count)
  const end = part.at(-1)
  if (end === undefined || part.length === rest.length) return json(shape(part))
  const next = new URLSearchParams({ n: String(count), last: end }).toString()
  return json(shape(part), { Link: `<${request.path}?${next}>; rel="next"` })
}

/** `GET /v2/<name>/referrers/<digest>` (distribution-spec § Listing Referrers): always an index, possibly empty. */
export async function answerReferrers(
  request: RegistryRequest,
  route: { repository: string; digest: Digest },
  store: ContentStore,
): Promise<Reply> {
  const all = await store.referrers(route.repository, route.digest)
  const filter = request.query.get('artifactType')
  const manifests = filter === null ? all : all.filter((item) => item.artifactType === filter)
  return json(
    { schemaVersion: 2, mediaType: OCI_INDEX, manifests },
    { 'Content-Type': OCI_INDEX, ...(filter === null ? {} : { 'OCI-Filters-Applied': 'artifactType' }) },
  )
}

/** `GET` and `HEAD /v2/<name>/blobs/<digest>`, with ranges (distribution-spec § Pulling blobs). */
export async function readBlob(
  request: RegistryRequest,
  route: { repository: string; digest: Digest },
  store: ContentStore,
): Promise<Reply> {
  const { repository, digest } = route
  const blob = await store.blob(repository, digest)
  if (!blob) return fault(404, 'BLOB_UNKNOWN', `${repository} has no blob ${digest}`)

  const unchanged = notModified(request, digest)
  if (unchanged) return unchanged
  const canRange = request.method === 'GET' && isRangeCurrent(request, digest)
  const range = canRange ? parseRange(request.headers.range, blob.size) : undefined
  if (range === 'unsatisfiable') {
    return fault(416, 'SIZE_INVALID', `the blob has ${blob.size} bytes`, {
      'Content-Range': `bytes */${blob.size}`,
    })
  }
  const { start, end } = range ?? { start: 0, end: blob.size }
  return {
    status: range ? 206 : 200,
    headers: {
      'Content-Type': 'application/octet-stream',
      'Content-Length': String(end - start),
      'Accept-Ranges': 'bytes',
      'Docker-Content-Digest': digest,
      ETag: etagOf(digest),
      ...(range ? { 'Content-Range': `bytes ${start}-${end - 1}/${blob.size}` } : {}),
    },
    body: () => blob.read(start, end),
    content: { kind: 'blob', digest, offset: start, size: blob.size },
  }
}

/**
 * `GET` and `HEAD /v2/<name>/manifests/<reference>` (distribution-spec § Pulling manifests).
 * @param ignoreAccept also send a manifest whose type is not in the Accept header.
 */
export async function answerManifest(
  request: RegistryRequest,
  route: { repository: string; reference: string },
  store: ContentStore,
  ignoreAccept: boolean,
): Promise<Reply> {
  const found = await store.manifest(route.repository, route.reference)
  if (!found) {
    return fault(404, 'MANIFEST_UNKNOWN', `${route.repository} has no manifest ${route.reference}`)
  }
  if (!ignoreAccept && !accepts(request.headers.accept, found.mediaType)) {
    return fault(
      404,
      'MANIFEST_UNKNOWN',
      `the manifest is ${found.mediaType}, which is not in the Accept header`,
    )
  }
  const unchanged = notModified(request, found.digest)
  if (unchanged) return unchanged
  const { bytes } = found
  const size = bytes instanceof Uint8Array ? bytes.length : bytes.size
  return {
    status: 200,
    headers: {
      'Content-Type': found.mediaType,
      'Content-Length': String(size),
      ETag: etagOf(found.digest),
      'Docker-Content-Digest': found.digest,
    },
    body: bytes instanceof Uint8Array ? bytes : () => bytes.read(0, size),
    content: { kind: 'manifest', digest: found.digest, offset: 0, size },
  }
}

/** RFC 9110 § 12.5.1, as far as it matters here: without the header anything is accepted, `q=0` excludes a type. */
function accepts(header: string | undefined, mediaType: string): boolean {
  if (header === undefined || header.trim() === '') return true
  return header.split(',').some((item) => {
    const [type = '', ...parameters] = item.split(';').map((part) => part.trim().toLowerCase())
    if (parameters.some((parameter) => /^q=0(?:\.0*)?$/.test(parameter))) return false
    return type === '*/*' || type === 'application/*' || type === mediaType.toLowerCase()
  })
}

/** The digest identifies the bytes, so it is a strong entity tag (RFC 9110 § 8.8.3). */
function etagOf(digest: Digest): string {
  return `"${digest}"`
}

/** RFC 9110 § 13.1.2: 304 if `If-None-Match` names this content or `*`. */
function notModified(request: RegistryRequest, digest: Digest): Reply | undefined {
  const header = request.headers['if-none-match']
  if (header === undefined) return undefined
  const etag = etagOf(digest)
  const names = new Set(header.split(',').map((item) => item.trim().replace(/^W\//, '')))
  if (!names.has(etag) && !names.has('*')) return undefined
  return { status: 304, headers: { ETag: etag, 'Docker-Content-Digest': digest } }
}

/** RFC 9110 § 13.1.5: with `If-Range`, the range applies only to the content that the header names. */
function isRangeCurrent(request: RegistryRequest, digest: Digest): boolean {
  const header = request.headers['if-range']
  return header === undefined || header === etagOf(digest)
}

/** Bytes from `start` up to, but not including, `end`. */
export interface ByteRange {
  start: number
  end: number
}

/**
 * Parses a `Range` header (RFC 9110 § 14.2) for content of `size` bytes.
 * @returns undefined if the whole content is to be sent: without a header, or with several ranges, another unit or an
 *   invalid range; 'unsatisfiable' if none of the content is in the range.
 */
export function parseRange(
  header: string | undefined,
  size: number,
): ByteRange | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d{0,16})-(\d{0,16})$/.exec(header ?? '')
  if (!match) return undefined
  const first = match[1] === '' ? undefined : Number(match[1])
  const last = match[2] === '' ? undefined : Number(match[2])
  if (first === undefined) {
    if (last === undefined) return undefined
    return last === 0 || size === 0 ? 'unsatisfiable' : { start: Math.max(0, size - last), end: size }
  }
  if (last !== undefined && last < first) return undefined
  if (first >= size) return 'unsatisfiable'
  return { start: first, end: last === undefined ? size : Math.min(size, last + 1) }
}
