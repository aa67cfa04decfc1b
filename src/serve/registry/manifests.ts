import { notModified, etagOf } from './conditional.ts'
import { fault, type Reply } from './reply.ts'
import type { RegistryRequest } from './request.ts'
import type { ContentStore } from './store.ts'

/**
 * `GET` and `HEAD /v2/<name>/manifests/<reference>` (distribution-spec § Pulling manifests).
 * @param ignoreAccept sends a manifest whose type the Accept header leaves out, too.
 */
export async function readManifest(
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
      `the manifest is ${found.mediaType}, which the Accept header leaves out`,
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

/** RFC 9110 § 12.5.1, as far as it matters here: an absent header takes anything, `q=0` excludes. */
function accepts(header: string | undefined, mediaType: string): boolean {
  if (header === undefined || header.trim() === '') return true
  return header.split(',').some((item) => {
    const [type = '', ...parameters] = item.split(';').map((part) => part.trim().toLowerCase())
    if (parameters.some((parameter) => /^q=0(?:\.0*)?$/.test(parameter))) return false
    return type === '*/*' || type === 'application/*' || type === mediaType.toLowerCase()
  })
}
