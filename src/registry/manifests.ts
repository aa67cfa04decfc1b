import { AirgapError } from '../errors.ts'
import { digestOf, isDigest, type Digest } from '../oci/digest.ts'
import { MAX_MANIFEST_SIZE, parseManifest, type ManifestOrIndex } from '../oci/manifest.ts'
import { ACCEPTED_MANIFESTS, isManifestOrIndexType } from '../oci/media-types.ts'
import type { Answer, Call } from './connection.ts'
import { CAPTIVE_PAGE, damagedHint, LARGE_MANIFEST } from './faults/words.ts'
import { pageText } from './faults/quote.ts'
import type { Context } from './notices.ts'
import type { Location } from './location.ts'
import { markTransient } from './retry.ts'
import { contentLengthOf, contentTypeOf, discard, failure, headerOf, readCapped } from './transport.ts'

/** What a registry says about a manifest without sending it. */
export interface ManifestInfo {
  digest: Digest
  mediaType: string
  /** Bytes. */
  size: number
  /** The manifest itself, where the registry could not say this without sending it. */
  document?: ManifestOrIndex
}

/** See {@link Repository.resolveManifest}. */
export async function resolveManifest(
  repository: Location,
  ref: string,
  signal?: AbortSignal,
): Promise<ManifestInfo | undefined> {
  const context = repository.context(`resolve ${repository.refText(ref)}`)
  const call = readCall(repository, ref, 'HEAD', context, signal)
  const fromHeaders = await repository.connection.retrying(context, signal, async () => {
    const answer = await repository.connection.send(call)
    // Some registries and proxies do not do HEAD.
    if (answer.status === 405 || answer.status === 501) return (discard(answer), 'incomplete' as const)
    if (answer.status === 404) return (discard(answer), undefined)
    if (answer.status !== 200) throw await failure(answer, answer.auth, context)
    discard(answer)
    return infoFromHeaders(answer, ref, context) ?? ('incomplete' as const)
  })
  if (fromHeaders !== 'incomplete') return fromHeaders
  try {
    const document = await fetchManifest(repository, ref, signal)
    const { digest, mediaType, bytes } = document
    return { digest, mediaType, size: bytes.length, document }
  } catch (error) {
    if (error instanceof AirgapError && error.code === 'NOT_FOUND') return undefined
    throw error
  }
}

function infoFromHeaders(answer: Answer, ref: string, context: Context): ManifestInfo | undefined {
  const mediaType = contentTypeOf(answer)
  const digest = headerOf(answer, 'docker-content-digest')
  const size = contentLengthOf(answer)
  // The digest that was asked for is the one that counts; a registry that names another one is not to be used.
  if (isDigest(ref) && digest !== undefined && digest !== ref) throw otherDigest(ref, digest, context)
  if (!isDigest(digest) || !isManifestOrIndexType(mediaType) || size === undefined || size === 0)
    return undefined
  return { digest, mediaType, size }
}

/** See {@link Repository.fetchManifest}. */
export async function fetchManifest(
  repository: Location,
  ref: string,
  signal?: AbortSignal,
): Promise<ManifestOrIndex> {
  const what = repository.refText(ref)
  const context = repository.context(`fetch the manifest ${what}`)
  const call = readCall(repository, ref, 'GET', context, signal)
  return repository.connection.retrying(context, signal, async () => {
    const answer = await repository.connection.expect([200], call)
    const tooLarge = (): AirgapError =>
      new AirgapError('INVALID_CONTENT', `${what}: its manifest is larger than ${MAX_MANIFEST_SIZE} bytes`, {
        hint: LARGE_MANIFEST,
      })
    if ((contentLengthOf(answer) ?? 0) > MAX_MANIFEST_SIZE) {
      discard(answer)
      throw tooLarge()
    }
    const bytes = await readCapped(answer, MAX_MANIFEST_SIZE, context, signal)
    if (bytes === undefined) throw tooLarge()
    const mediaType = contentTypeOf(answer)
    if (mediaType === 'text/html') {
      throw new AirgapError(
        'REGISTRY',
        `cannot ${context.operation}: ${repository.registry} answers with ${pageText(bytes.toString('utf8'))}`,
        { hint: CAPTIVE_PAGE },
      )
    }
    if (isDigest(ref) && digestOf(bytes) !== ref)
      throw markTransient(otherDigest(ref, digestOf(bytes), context), { attempts: 2 })
    return parseManifest(bytes, what, isManifestOrIndexType(mediaType) ? mediaType : undefined)
  })
}

function otherDigest(wanted: Digest, got: string, { registry, operation }: Context): AirgapError {
  return new AirgapError(
    'CONTENT_MISMATCH',
    `cannot ${operation}: ${registry} answers with other content, ${JSON.stringify(got.slice(0, 80))} instead of ${wanted}`,
    { hint: damagedHint(registry) },
  )
}

function readCall(
  repository: Location,
  ref: string,
  method: 'GET' | 'HEAD',
  context: Context,
  signal: AbortSignal | undefined,
): Call {
  return {
    method,
    target: repository.manifestPath(ref),
    repository: repository.repository,
    scopes: [repository.pull],
    headers: { accept: ACCEPTED_MANIFESTS },
    context,
    signal,
  }
}

/** See {@link Repository.putManifest}. */
export async function putManifest(
  repository: Location,
  ref: string,
  document: { bytes: Uint8Array; mediaType: string; digest: Digest },
  signal?: AbortSignal,
): Promise<void> {
  const { bytes, mediaType, digest } = document
  const context = repository.context(`put the manifest ${repository.refText(ref)}`)
  if (digestOf(bytes) !== digest || (isDigest(ref) && ref !== digest)) {
    throw new AirgapError('INVALID_CONTENT', `cannot ${context.operation}: its bytes do not have that digest`)
  }
  await repository.connection.retrying(context, signal, async () => {
    const answer = await repository.connection.send({
      method: 'PUT',
      target: repository.manifestPath(ref),
      repository: repository.repository,
      scopes: [repository.push],
      headers: { 'content-type': mediaType },
      body: () => bytes,
      context,
      signal,
    })
    if (answer.status < 200 || answer.status > 299) throw await putFailure(answer, bytes, context)
    discard(answer)
    const stored = headerOf(answer, 'docker-content-digest')
    if (stored !== undefined && stored !== digest) throw otherDigest(digest, stored, context)
  })
}

async function putFailure(answer: Answer, bytes: Uint8Array, context: Context): Promise<AirgapError> {
  const error = await failure(answer, answer.auth, context)
  if ((answer.status !== 400 && answer.status !== 500) || !hasForeignLayers(bytes)) return error
  // Seen with docker-registry 2.8: 500 to every manifest with foreign layers, whether the blobs are there or not.
  const explained = new AirgapError(error.code, error.message, {
    hint: 'The manifest has layers with "urls" (foreign layers). docker-registry takes such manifests only if its configuration permits the addresses: validation.manifests.urls.allow',
    cause: error,
  })
  return answer.status === 500 ? markTransient(explained, { attempts: 2 }) : explained
}

function hasForeignLayers(bytes: Uint8Array): boolean {
  try {
    const { layers } = JSON.parse(Buffer.from(bytes).toString('utf8')) as { layers?: { urls?: unknown[] }[] }
    return (
      Array.isArray(layers) && layers.some((layer) => Array.isArray(layer?.urls) && layer.urls.length > 0)
    )
  } catch {
    // What is not JSON has no layers; the registry's own words say the rest.
    return false
  }
}
