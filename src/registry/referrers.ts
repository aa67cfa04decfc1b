import { AirgapError } from '../errors.ts'
import { type Digest, digestOf, parseDigest } from '../oci/digest.ts'
import {
  type Descriptor,
  type Index,
  listedVerbatim,
  type ManifestOrIndex,
  MAX_MANIFEST_SIZE,
  parseReferrersList,
  referrerOf,
} from '../oci/manifest.ts'
import type { ReferrersOptions } from '../content/source.ts'
import { OCI_INDEX } from '../oci/media-types.ts'
import type { Answer } from './net/connection.ts'
import type { Location } from './net/location.ts'
import { ifThere, putManifest, readManifest } from './manifests.ts'
import { type Context, during } from './notices.ts'
import { contentTypeOf, discard, failure, headerOf, type HttpResponse, readCapped } from './net/http.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { answerOf } from './faults/answer.ts'
import { throwIfAborted } from './net/retry.ts'

/** The most times to write the list, if others write it at the same time. */
const MAX_ROUNDS = 5
const PAUSE_MS = 50
/** Registries' limit for a manifest; the list is one. Bytes. */
const MAX_LIST = 4 * 1024 * 1024

/**
 * See {@link Repository.ensureReferrer}; distribution-spec § Pushing Manifests with Subject: a registry that has added
 * a manifest to its subject's list says so by `OCI-Subject`. Otherwise the client adds it to the list under the tag
 * `sha256-<hex>`.
 *
 * Others may do this at the same time, and few registries honour a condition (If-Match). So the list is read again
 * after each write, until the manifest is in it, a limited number of times.
 */
export async function ensureReferrer(
  repository: Location,
  document: ManifestOrIndex,
  signal?: AbortSignal,
): Promise<'listed' | 'added' | 'tagged'> {
  const subject = document.subject?.digest
  if (subject === undefined) return 'listed'
  if (repository.subjects.has(document.digest)) {
    if (repository.subjects.get(document.digest) === subject) return 'listed'
  } else if (await hasReferrersList(repository, subject, signal)) {
    return 'listed'
  }
  return addToList(repository, subject, referrerOf(document), signal)
}

async function addToList(
  repository: Location,
  subject: Digest,
  entry: Descriptor,
  signal: AbortSignal | undefined,
): Promise<'added' | 'tagged'> {
  const tag = subject.replace(':', '-')
  const context = repository.context(`list ${entry.digest} in ${repository.refText(tag)}`)
  let refused: { error: unknown; list: Digest | undefined } | undefined
  for (let round = 1; round <= MAX_ROUNDS; round += 1) {
    const found = await readList(repository, subject, tag, signal)
    // The list is unchanged. So the registry did not refuse the condition: the tag must not be set again.
    if (refused && refused.list === found?.list.digest) throw refused.error
    if (found?.list.manifests.some(({ digest }) => digest === entry.digest)) {
      return round === 1 ? 'tagged' : 'added'
    }
    if (round > 1) await sleep(Math.random() * PAUSE_MS * round, undefined, { signal }).catch(() => {})
    throwIfAborted(signal, context)
    const bytes = longerList(repository, tag, found?.list, entry)
    const error = await putList(repository, tag, bytes, found?.etag, signal)
    refused = error === undefined ? undefined : { error, list: found?.list.digest }
  }
  throw new AirgapError('REGISTRY', `others keep writing this list at the same time`, {
    ...during(context),
    hint: 'Push again when they have finished.',
  })
}

interface Found {
  list: Index
  etag: string | undefined
}

/** @returns undefined if the tag does not exist. */
async function readList(
  repository: Location,
  subject: Digest,
  tag: string,
  signal: AbortSignal | undefined,
): Promise<Found | undefined> {
  const found = await ifThere(repository, subject, signal, () =>
    readManifest(repository, tag, signal, { parse: parseReferrersList }),
  )
  if (!found) return undefined
  const { document, etag } = found
  if (document.kind === 'index' && document.mediaType === OCI_INDEX) return { list: document, etag }
  throw new AirgapError('REGISTRY', `${repository.refText(tag)} is not a list of referrers`, {
    hint: 'The registry, or somebody, uses this tag for something else, so it was not changed.',
  })
}

/** The list with one more entry; the rest of it is unchanged. */
function longerList(repository: Location, tag: string, list: Index | undefined, entry: Descriptor): Buffer {
  const before: object = list
    ? (JSON.parse(Buffer.from(list.bytes).toString('utf8')) as object)
    : { schemaVersion: 2, mediaType: OCI_INDEX }
  const manifests = [...(list ? listedVerbatim(list) : []), entry]
  const bytes = Buffer.from(JSON.stringify({ ...before, manifests }))
  if (manifests.length <= MAX_REFERRERS && bytes.length <= MAX_LIST) return bytes
  throw new AirgapError(
    'REGISTRY',
    `${repository.refText(tag)} already lists ${manifests.length - 1} referrers, and would become too long with one more`,
  )
}

/** @returns the refusal, if the list has changed since it was read (RFC 9110 § 15.5.13). */
async function putList(
  repository: Location,
  tag: string,
  bytes: Buffer,
  etag: string | undefined,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  // Only a strong tag can be a condition (RFC 9110 § 13.1.1).
  const conditions = etag?.startsWith('"') ? { 'if-match': etag } : undefined
  try {
    const document = { bytes, mediaType: OCI_INDEX, digest: digestOf(bytes) }
    await putManifest(repository, tag, document, signal, conditions)
    return undefined
  } catch (error) {
    if (answerOf(error)?.status === 412 && conditions !== undefined) return error
    throw error
  }
}

/** No genuine list has more pages. This stops a registry that sends pages without end. */
const MAX_PAGES = 200

/**
 * The next page of a list (RFC 8288; distribution-spec § Listing Tags), undefined after the last one. It must be on the
 * registry's own origin: another one would get the credentials of the next request.
 *
 * @throws AirgapError `REGISTRY` for a next page on another origin, or an unreadable one.
 */
export function nextPage(response: HttpResponse, context: Context): URL | undefined {
  const header = headerOf(response, 'link')
  const match = /<([^>]{0,4096})>\s*;[^,]*\brel="?next"?/i.exec(header ?? '')
  if (!match) return undefined
  const fail = (reason: string): never => {
    throw new AirgapError('REGISTRY', `${context.registry} ${reason}`, { ...during(context) })
  }
  if (!URL.canParse(match[1] ?? '', response.url)) return fail('names an unreadable next page')
  const next = new URL(match[1] ?? '', response.url)
  if (next.origin !== response.url.origin) {
    return fail(`names a next page on another host (${next.host})`)
  }
  return next
}

/** No genuine image has more referrers. This protects memory. */
export const MAX_REFERRERS = 10_000

/** Bytes of all pages of a list: some three thousand for each of ten thousand referrers. */
const MAX_LIST_BYTES = 32 * 1024 * 1024

/**
 * The answers of registries that do not support the request: 404 by the specification, the others as seen in practice
 * (Artifactory: 406).
 */
const NO_SUCH_REQUEST = new Set([400, 404, 405, 406, 415, 501])

const ABOUT_CONTENT: ReadonlySet<string> = new Set(['MANIFEST_UNKNOWN', 'NAME_UNKNOWN'])

/**
 * See {@link Repository.referrers}; distribution-spec § Listing Referrers, and § Referrers Tag Schema if the registry
 * does not support that request.
 */
export async function listReferrers(
  repository: Location,
  subject: Digest,
  signal?: AbortSignal,
  { onUnusable, mayHave }: ReferrersOptions = {},
): Promise<Descriptor[]> {
  const context = repository.context(
    `list what refers to ${repository.refText(parseDigest(subject))}`,
    repository.refText(parseDigest(subject)),
  )
  const listed = await fromRequest(repository, subject, context, signal, onUnusable)
  if (listed) return listed
  const tag = subject.replace(':', '-')
  if (mayHave && !(await mayHave(tag))) return []
  return fromTag(repository, subject, tag, context, signal, onUnusable)
}

/** Gets the digests of entries that are left out because of their digest algorithm. */
type OnUnusable = (digest: string) => void

/** Whether the registry keeps the list itself. */
export async function hasReferrersList(
  repository: Location,
  subject: Digest,
  signal?: AbortSignal,
): Promise<boolean> {
  const context = repository.context(
    `list what refers to ${repository.refText(subject)}`,
    repository.refText(subject),
  )
  return (await fromRequest(repository, subject, context, signal)) !== undefined
}

/** @returns undefined if the registry does not support the request. */
async function fromRequest(
  repository: Location,
  subject: Digest,
  context: Context,
  signal: AbortSignal | undefined,
  onUnusable?: OnUnusable,
): Promise<Descriptor[] | undefined> {
  const { connection, group } = repository
  if (connection.withoutReferrers.has(group)) return undefined
  const found = new Map<Digest, Descriptor>()
  let bytes = 0
  let target: string | URL | undefined = repository.referrersPath(subject)
  for (let page = 1; target !== undefined; page += 1) {
    const asked: string | URL = target
    const answer = await repository.connection.retrying(context, signal, async () => {
      const tried = await repository.connection.send({
        method: 'GET',
        target: asked,
        repository: repository.repository,
        scopes: [repository.pull],
        headers: { accept: OCI_INDEX },
        context,
        signal,
      })
      if (isList(tried) || (page === 1 && isUnknown(tried))) return tried
      throw await failure(tried, tried.auth, context)
    })
    if (!isList(answer)) {
      if (!(await isAboutContent(answer, context))) connection.withoutReferrers.add(group)
      return undefined
    }
    target = nextPage(answer, context)
    const read = await readPage(answer, context, signal, onUnusable)
    bytes += read.size
    for (const descriptor of read.manifests) found.set(descriptor.digest, descriptor)
    const tooMuch = (what: string): AirgapError =>
      new AirgapError('REGISTRY', `${repository.registry} lists ${what}`, { ...during(context) })
    if (found.size > MAX_REFERRERS) throw tooMuch(`more than ${MAX_REFERRERS} of them`)
    if (bytes > MAX_LIST_BYTES) throw tooMuch(`more than ${MAX_LIST_BYTES / 1024 / 1024} MiB of them`)
    if (target !== undefined && page === MAX_PAGES) throw tooMuch(`them on more than ${MAX_PAGES} pages`)
  }
  return [...found.values()]
}

function isList(answer: Answer): boolean {
  return answer.status === 200 && contentTypeOf(answer) !== 'text/html'
}

/**
 * Harbor 2.7 answered 401 only to this request, without a challenge. GHCR redirects it to a web site, whose answer
 * means nothing.
 */
function isUnknown(answer: Answer): boolean {
  if (NO_SUCH_REQUEST.has(answer.status) || answer.url.origin !== answer.requested.origin) return true
  return answer.status === 401 && answer.headers['www-authenticate'] === undefined
}

/** Whether an answer is about this image or repository, and so says nothing about the API. */
async function isAboutContent(answer: Answer, context: Context): Promise<boolean> {
  if (answer.status !== 404 || answer.url.origin !== answer.requested.origin) {
    discard(answer)
    return false
  }
  const { answer: said } = await failure(answer, answer.auth, context)
  return said?.errors.some(({ code }) => ABOUT_CONTENT.has(code)) ?? false
}

async function readPage(
  answer: Answer,
  context: Context,
  signal: AbortSignal | undefined,
  onUnusable: OnUnusable | undefined,
): Promise<{ size: number; manifests: Descriptor[] }> {
  const bytes = await readCapped(answer, MAX_MANIFEST_SIZE, context, signal)
  if (bytes === undefined) {
    throw new AirgapError('INVALID_CONTENT', `the answer is larger than ${MAX_MANIFEST_SIZE} bytes`, {
      ...during(context),
    })
  }
  const what = `the answer of ${context.registry} to "${context.operation}"`
  const document = parseReferrersList(bytes, what, undefined, onUnusable)
  const manifests = document.kind === 'index' ? document.manifests.map(listedOnly) : []
  return { size: bytes.length, manifests }
}

/** Longer annotations of an entry are dropped. Characters. */
const MAX_ANNOTATIONS = 4096

/** Keeps the useful parts of an entry. */
function listedOnly({ mediaType, digest, size, artifactType, annotations }: Descriptor): Descriptor {
  const texts = Object.entries(annotations ?? {}).flat()
  const isSmall = texts.length > 0 && texts.reduce((sum, { length }) => sum + length, 0) <= MAX_ANNOTATIONS
  return {
    mediaType,
    digest,
    size,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(isSmall ? { annotations } : {}),
  }
}

/**
 * The tag schema: an index under `sha256-<hex>`. A registry may take that tag for something else: GitLab returned the
 * subject itself.
 */
async function fromTag(
  repository: Location,
  subject: Digest,
  tag: string,
  context: Context,
  signal: AbortSignal | undefined,
  onUnusable: OnUnusable | undefined,
): Promise<Descriptor[]> {
  const found = await ifThere(repository, subject, signal, () =>
    readManifest(repository, tag, signal, {
      parse: (...[bytes, what, type]) => parseReferrersList(bytes, what, type, onUnusable),
    }),
  )
  const index = found?.document
  if (index?.kind !== 'index' || index.digest === subject) return []
  if (index.manifests.length > MAX_REFERRERS) {
    throw new AirgapError('REGISTRY', `${repository.registry} lists more than ${MAX_REFERRERS} of them`, {
      ...during(context),
    })
  }
  return [...new Map(index.manifests.map((one) => [one.digest, listedOnly(one)])).values()]
}
