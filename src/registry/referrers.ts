import { AirgapError } from '../errors.ts'
import { type Digest, parseDigest } from '../oci/digest.ts'
import { type Descriptor, MAX_MANIFEST_SIZE, parseReferrersList } from '../oci/manifest.ts'
import type { ReferrersOptions } from '../content/source.ts'
import { OCI_INDEX } from '../oci/media-types.ts'
import type { Answer } from './net/connection.ts'
import type { Location } from './net/location.ts'
import { ifThere, readManifest } from './manifests.ts'
import { during, type Context } from './notices.ts'
import { contentTypeOf, discard, failure, headerOf, type HttpResponse, readCapped } from './net/http.ts'

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
