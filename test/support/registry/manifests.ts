import { AirgapError } from '../../../src/errors.ts'
import { isDigest } from '../../../src/oci/digest.ts'
import { parseManifest, type ManifestOrIndex } from '../../../src/oci/manifest.ts'
import { isManifestOrIndexType } from '../../../src/oci/media-types.ts'
import { empty, fault, faults, type Fault, type Reply } from '../../../src/serve/registry/reply.ts'
import type { MemoryStore } from './memory-store.ts'
import type { EmbeddedRequest } from './registry.ts'

/** Bytes. The limit that docker-registry and most others have (distribution-spec § Pushing Manifests). */
const MANIFEST_LIMIT = 4 * 1024 * 1024

type Route = { repository: string; reference: string }

/** `PUT /v2/<name>/manifests/<reference>` (distribution-spec § Pushing Manifests). */
export async function writeManifest(
  request: EmbeddedRequest,
  route: Route,
  store: MemoryStore,
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
  store.putManifest(repository, bytes, document.mediaType, tag)
  return empty(201, {
    Location: `${request.origin}/v2/${repository}/manifests/${document.digest}`,
    'Docker-Content-Digest': document.digest,
    ...(document.subject ? { 'OCI-Subject': document.subject.digest } : {}),
  })
}

async function missingChildren(
  document: ManifestOrIndex,
  repository: string,
  store: MemoryStore,
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
        store.manifest(repository, child.digest) ??
        (isManifestOrIndexType(child.mediaType) ? undefined : store.blob(repository, child.digest))
      if (!isThere) report(child.digest)
    }
    return missing
  }
  for (const blob of [document.config, ...document.layers]) {
    // A layer with URLs may stay where those point (image-spec layer.md § Non-Distributable Layers).
    if (blob.urls && blob.urls.length > 0) continue
    if (!store.blob(repository, blob.digest)) report(blob.digest)
  }
  return missing
}

export async function deleteManifest(route: Route, store: MemoryStore): Promise<Reply> {
  const { repository, reference } = route
  const removed = isDigest(reference)
    ? store.deleteManifest(repository, reference)
    : store.deleteTag(repository, reference)
  return removed ? empty(202) : fault(404, 'MANIFEST_UNKNOWN', `${repository} has no manifest ${reference}`)
}
