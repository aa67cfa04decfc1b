import { AirgapError } from '../../errors.ts'
import { isDigest } from '../../oci/digest.ts'
import { parseManifest, type ManifestOrIndex } from '../../oci/manifest.ts'
import { isManifestOrIndexType } from '../../oci/media-types.ts'
import { empty, fault, faults, notAllowed, type Fault, type Reply } from '../reply.ts'
import type { RegistryRequest } from '../request.ts'
import { etagOf, notModified } from '../conditional.ts'
import { isWritable, type ContentStore, type WritableStore } from '../storage.ts'

/** Bytes. The limit that docker-registry and most others have (distribution-spec § Pushing Manifests). */
const MANIFEST_LIMIT = 4 * 1024 * 1024

type Route = { repository: string; reference: string }

/** `GET`, `HEAD`, `PUT` and `DELETE /v2/<name>/manifests/<reference>`. */
export async function manifests(
  request: RegistryRequest,
  route: Route,
  store: ContentStore,
  { ignoreAccept = false, sparseIndexes = false }: { ignoreAccept?: boolean; sparseIndexes?: boolean } = {},
): Promise<Reply> {
  if (request.method === 'GET' || request.method === 'HEAD') {
    return await read(request, route, store, ignoreAccept)
  }
  if (!isWritable(store)) return notAllowed('GET, HEAD')
  if (request.method === 'PUT') return await write(request, route, store, sparseIndexes)
  if (request.method === 'DELETE') return await remove(route, store)
  return notAllowed('GET, HEAD, PUT, DELETE')
}

async function read(
  request: RegistryRequest,
  route: Route,
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

async function write(
  request: RegistryRequest,
  route: Route,
  store: WritableStore,
  sparseIndexes: boolean,
): Promise<Reply> {
  const { repository, reference } = route
  const chunks = await request.readBody(MANIFEST_LIMIT)
  if (!chunks) return fault(413, 'SIZE_INVALID', `a manifest has at most ${MANIFEST_LIMIT} bytes`)
  const bytes = Buffer.concat(chunks)
  const stated = request.headers['content-type']?.split(';')[0]?.trim()
  let document: ManifestOrIndex
  try {
    document = parseManifest(bytes, `${repository}:${reference}`, stated)
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    return fault(400, 'MANIFEST_INVALID', error.message)
  }
  if (isDigest(reference) && reference !== document.digest) {
    return fault(400, 'DIGEST_INVALID', `the body's digest is ${document.digest}`)
  }
  const isUnchecked = document.kind === 'index' && sparseIndexes
  const missing = isUnchecked ? [] : await missingChildren(document, repository, store)
  if (missing.length > 0) return faults(400, missing)
  const tag = isDigest(reference) ? undefined : reference
  await store.putManifest(repository, bytes, document.mediaType, tag)
  return empty(201, {
    Location: `${request.origin}/v2/${repository}/manifests/${document.digest}`,
    'Docker-Content-Digest': document.digest,
    ...(document.subject ? { 'OCI-Subject': document.subject.digest } : {}),
  })
}

async function missingChildren(
  document: ManifestOrIndex,
  repository: string,
  store: ContentStore,
): Promise<Fault[]> {
  const missing: Fault[] = []
  const report = (digest: string): void => {
    missing.push({
      code: 'MANIFEST_BLOB_UNKNOWN',
      message: `${digest} is not in ${repository}`,
      detail: { digest },
    })
  }
  if (document.kind === 'index') {
    for (const child of document.manifests) {
      const isThere =
        (await store.manifest(repository, child.digest)) ??
        (isManifestOrIndexType(child.mediaType) ? undefined : await store.blob(repository, child.digest))
      if (!isThere) report(child.digest)
    }
    return missing
  }
  for (const blob of [document.config, ...document.layers]) {
    // A layer with URLs may stay where those point (image-spec layer.md § Non-Distributable Layers).
    if (blob.urls && blob.urls.length > 0) continue
    if (!(await store.blob(repository, blob.digest))) report(blob.digest)
  }
  return missing
}

async function remove(route: Route, store: WritableStore): Promise<Reply> {
  const { repository, reference } = route
  const removed = isDigest(reference)
    ? await store.deleteManifest(repository, reference)
    : await store.deleteTag(repository, reference)
  return removed ? empty(202) : fault(404, 'MANIFEST_UNKNOWN', `${repository} has no manifest ${reference}`)
}
