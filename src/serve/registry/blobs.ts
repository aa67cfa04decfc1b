import type { Digest } from '../../oci/digest.ts'
import { etagOf, isRangeCurrent, notModified, parseRange } from './conditional.ts'
import { fault, type Reply } from './reply.ts'
import type { RegistryRequest } from './request.ts'
import type { ContentStore } from './store.ts'

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
