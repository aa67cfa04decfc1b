import type { ManifestInfo } from '../content/source.ts'
import { AirgapError } from '../errors.ts'
import { digestOf, isDigest, type Digest } from '../oci/digest.ts'
import { MAX_MANIFEST_SIZE, parseManifest, type ManifestOrIndex } from '../oci/manifest.ts'
import { ACCEPTED_MANIFESTS, isManifestOrIndexType } from '../oci/media-types.ts'
import { answerOf } from './faults/answer.ts'
import type { Answer, Call } from './net/connection.ts'
import { CAPTIVE_PAGE, damagedHint, LARGE_MANIFEST, pageText } from './faults/quote.ts'
import { during, type Context } from './notices.ts'
import type { Location } from './net/location.ts'
import {
  contentEncodingOf,
  contentLengthOf,
  contentTypeOf,
  discard,
  encodingHint,
  encodingText,
  failure,
  headerOf,
  readCapped,
} from './net/http.ts'
import { manifestRefusal } from './vendors/manifest-refusals.ts'

/** See {@link Repository.resolveManifest}. */
export async function resolveManifest(
  repository: Location,
  ref: string,
  signal?: AbortSignal,
): Promise<ManifestInfo | undefined> {
  const context = repository.context(`resolve ${repository.refText(ref)}`, repository.refText(ref))
  const call = readCall(repository, ref, 'HEAD', context, signal)
  const fromHeaders = await repository.connection.retrying(context, signal, async () => {
    const answer = await repository.connection.send(call)
    // Some registries and proxies do not support HEAD.
    if (answer.status === 405 || answer.status === 501) return (discard(answer), 'incomplete' as const)
    if (answer.status === 404) return (discard(answer), undefined)
    // An answer to HEAD has no body, so only GET tells why.
    if (isUnexplained(answer)) return (discard(answer), 'incomplete' as const)
    if (answer.status !== 200) throw await failure(answer, answer.auth, context)
    discard(answer)
    return infoFromHeaders(answer, ref, context) ?? ('incomplete' as const)
  })
  if (fromHeaders !== 'incomplete') return fromHeaders
  try {
    const { document } = await readManifest(repository, ref, signal, { context })
    const { digest, mediaType, bytes } = document
    return { digest, mediaType, size: bytes.length, document }
  } catch (error) {
    if (error instanceof AirgapError && error.code === 'NOT_FOUND') return undefined
    throw error
  }
}

/**
 * Whether a refusal may have a reason that its status does not tell. Wrong credentials are not tried again for this.
 */
function isUnexplained({ status, auth }: Answer): boolean {
  return (status === 401 && auth.kind !== 'basic') || [400, 403, 412].includes(status)
}

function infoFromHeaders(answer: Answer, ref: string, context: Context): ManifestInfo | undefined {
  const mediaType = contentTypeOf(answer)
  const digest = headerOf(answer, 'docker-content-digest')
  const size = contentLengthOf(answer)
  // The requested digest counts. A registry that names another one must not be used.
  if (isDigest(ref) && digest !== undefined && digest !== ref) throw otherDigest(ref, digest, context)
  if (!isDigest(digest) || !isManifestOrIndexType(mediaType) || size === undefined || size === 0)
    return undefined
  return { digest, mediaType, size }
}

/**
 * See {@link Repository.resolveAttached}. What belongs to a manifest is under a tag made of its digest, and mostly
 * there is none. Artifactory and others answer 403 for a tag that does not exist. If the manifest itself can be read, a
 * 403 is taken that way, and this is reported once for each repository.
 *
 * @param subject the manifest that the tag belongs to.
 * @returns undefined where there is no such tag.
 */
export async function ifThere<T>(
  repository: Location,
  subject: Digest,
  signal: AbortSignal | undefined,
  ask: () => Promise<T | undefined>,
): Promise<T | undefined> {
  try {
    return await ask()
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    if (error.code === 'NOT_FOUND') return undefined
    if (answerOf(error)?.status !== 403 || !(await mayRead(repository, subject, signal))) throw error
    if (!repository.isForbiddingTold) {
      repository.isForbiddingTold = true
      const message = `${repository.name}: the registry serves the image, but answers 403 for the tags of its signatures and attestations (sha256-….sig and the like). Some registries answer like this for tags that do not exist, so airgap assumes that there are none.`
      repository.connection.onNotice({ type: 'warning', message })
    }
    return undefined
  }
}

async function mayRead(repository: Location, digest: Digest, signal?: AbortSignal): Promise<boolean> {
  if (repository.isReadable) return true
  try {
    repository.isReadable = (await resolveManifest(repository, digest, signal)) !== undefined
  } catch (error) {
    if (!(error instanceof AirgapError) || error.code !== 'DENIED') throw error
  }
  return repository.isReadable
}

/** See {@link Repository.fetchManifest}. */
export async function fetchManifest(
  repository: Location,
  ref: string,
  signal?: AbortSignal,
): Promise<ManifestOrIndex> {
  return (await readManifest(repository, ref, signal)).document
}

/**
 * {@link fetchManifest}, with the entity tag (RFC 9110 § 8.8.3) for a conditional PUT.
 * @param how `context` for errors of another operation; `parse` for documents that are not parsed as manifests.
 */
export async function readManifest(
  repository: Location,
  ref: string,
  signal?: AbortSignal,
  {
    context = repository.context(`fetch the manifest ${repository.refText(ref)}`, repository.refText(ref)),
    parse = parseManifest,
  }: { context?: Context; parse?: typeof parseManifest } = {},
): Promise<{ document: ManifestOrIndex; etag: string | undefined }> {
  const what = repository.refText(ref)
  const call = readCall(repository, ref, 'GET', context, signal)
  return repository.connection.retrying(context, signal, async () => {
    const answer = await repository.connection.expect([200], call)
    const tooLarge = (): AirgapError =>
      new AirgapError('INVALID_CONTENT', `its manifest is larger than ${MAX_MANIFEST_SIZE} bytes`, {
        subject: what,
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
        `${repository.registry} answers with ${pageText(bytes.toString('utf8'))}`,
        { ...during(context), hint: CAPTIVE_PAGE },
      )
    }
    const encoding = contentEncodingOf(answer)
    if (encoding !== undefined && !isJsonObject(bytes)) throw encoded(encoding, context)
    if (isDigest(ref) && digestOf(bytes) !== ref)
      throw otherDigest(ref, digestOf(bytes), context).with({ transience: { attempts: 2 } })
    const document = parse(bytes, what, isManifestOrIndexType(mediaType) ? mediaType : undefined)
    return { document, etag: headerOf(answer, 'etag') }
  })
}

function isJsonObject(bytes: Uint8Array): boolean {
  return bytes.find((byte) => byte > 0x20) === 0x7b
}

function encoded(encoding: string, { registry, operation }: Context): AirgapError {
  return new AirgapError('CONTENT_MISMATCH', `what ${registry} sends ${encodingText(encoding)}`, {
    doing: operation,
    hint: encodingHint(registry),
  })
}

function otherDigest(wanted: Digest, got: string, { registry, operation }: Context): AirgapError {
  return new AirgapError(
    'CONTENT_MISMATCH',
    `${registry} answers with other content, ${JSON.stringify(got.slice(0, 80))} instead of ${wanted}`,
    { doing: operation, hint: damagedHint(registry) },
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

/**
 * See {@link Repository.putManifest}.
 * @param conditions headers that make the PUT conditional (RFC 9110 § 13.1).
 */
export async function putManifest(
  repository: Location,
  ref: string,
  document: { bytes: Uint8Array; mediaType: string; digest: Digest },
  signal?: AbortSignal,
  conditions: Record<string, string> = {},
): Promise<void> {
  const { bytes, mediaType, digest } = document
  const context = repository.context(`put the manifest ${repository.refText(ref)}`, repository.refText(ref))
  if (digestOf(bytes) !== digest || (isDigest(ref) && ref !== digest)) {
    throw new AirgapError('INVALID_CONTENT', `its bytes do not have this digest`, {
      ...during(context),
    })
  }
  await repository.connection.retrying(context, signal, async () => {
    const answer = await repository.connection.send({
      method: 'PUT',
      target: repository.manifestPath(ref),
      repository: repository.repository,
      scopes: [repository.push],
      headers: { 'content-type': mediaType, ...conditions },
      body: () => bytes,
      context,
      signal,
    })
    if (answer.status < 200 || answer.status > 299) throw await manifestRefusal(answer, bytes, context)
    discard(answer)
    repository.subjects.set(digest, headerOf(answer, 'oci-subject'))
    const stored = headerOf(answer, 'docker-content-digest')
    if (stored !== undefined && stored !== digest) throw otherDigest(digest, stored, context)
  })
}
