import { during } from './notices.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { AirgapError } from '../errors.ts'
import { digestOf, type Digest } from '../oci/digest.ts'
import {
  type Descriptor,
  type Index,
  listedVerbatim,
  type ManifestOrIndex,
  parseReferrersList,
  referrerOf,
} from '../oci/manifest.ts'
import { OCI_INDEX } from '../oci/media-types.ts'
import { answerOf } from './faults/answer.ts'
import type { Location } from './net/location.ts'
import { ifThere, putManifest, readManifest } from './manifests.ts'
import { hasReferrersList, MAX_REFERRERS } from './referrers.ts'
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
