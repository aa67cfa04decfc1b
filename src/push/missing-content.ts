import { blobName } from '../bundle/names.ts'
import type { Digest } from '../oci/digest.ts'
import { childrenOf, type Descriptor, type ManifestOrIndex } from '../oci/manifest.ts'
import type { Repository } from '../registry/repository.ts'
import { answerOf } from '../registry/faults/answer.ts'
import { readDocument, type OpenedBundle } from '../verify/opened-bundle.ts'
import { isHeldBack } from '../content/failures.ts'
import type { DocumentNode } from '../content/graph.ts'
import type { PushRun } from './work.ts'
import type { PushRecord } from './record.ts'
import type { PushPlan } from './planned.ts'

/** Gives access to the content of manifests. */
interface ManifestContent {
  documentOf(digest: Digest): DocumentNode | undefined
  /** Reads a document from the bundle again. */
  read(node: DocumentNode): Promise<ManifestOrIndex>
  isInBundle(digest: Digest): boolean
  upload(repository: Repository, blob: { digest: Digest; size: number }, signal: AbortSignal): Promise<void>
  onSentAgain(message: string): void
}

/** The parts of a push, and how to upload a blob. */
export interface PushParts {
  opened: OpenedBundle
  plan: PushPlan
  options: PushRun
  record: PushRecord
  upload(
    opened: OpenedBundle,
    blob: { digest: Digest; size: number },
    repository: Repository,
    options: PushRun,
    signal: AbortSignal,
  ): Promise<void>
}

/** The content of a push's manifests. Records and reports what is sent again. */
export function contentFor(parts: PushParts): ManifestContent {
  const { opened, plan, options, record } = parts
  const documents = new Map(plan.manifests.map(({ document }) => [document.digest, document]))
  for (const { graph } of plan.referrers) {
    for (const [digest, document] of graph.closure.documents) documents.set(digest, document)
  }
  return {
    documentOf: (digest) => documents.get(digest),
    read: (node) => readDocument(opened, node),
    isInBundle: (digest) => opened.entries.has(blobName(digest)),
    async upload(repository, blob, signal) {
      options.onEvent?.({ type: 'more', bytes: blob.size })
      await parts.upload(opened, blob, repository, options, signal)
      record.set(repository, blob.digest, blob.size, 'uploaded')
    },
    onSentAgain: (message) => options.onEvent?.({ type: 'warning', message }),
  }
}

interface Put {
  repository: Repository
  /** A tag, or the document's digest. */
  ref: string
  document: DocumentNode
}

/**
 * Puts a manifest. If the registry answers that something in it is missing, although it was there earlier (garbage
 * collection may have run since), sends that again, and puts the manifest once more.
 *
 * @throws AirgapError the registry's refusal, even if nothing turns out to be missing.
 */
export async function putWithContent(put: Put, content: ManifestContent, signal: AbortSignal): Promise<void> {
  const { repository, ref } = put
  const document = await content.read(put.document)
  try {
    await repository.putManifest(ref, document, signal)
  } catch (error) {
    const named = unknownTo(error)
    if (named === undefined) throw error
    const missing = await missingIn(document, repository, named, content, signal)
    if (missing.length === 0) throw error
    for (const child of missing) {
      const below = content.documentOf(child.digest)
      if (below) await putWithContent({ repository, ref: child.digest, document: below }, content, signal)
      else await content.upload(repository, child, signal)
    }
    const what = missing.length === 1 ? 'something' : `${missing.length} things`
    content.onSentAgain(
      `${repository.name} has dropped ${what} of ${document.digest} since the push began (garbage collection?); sent again`,
    )
    await repository.putManifest(ref, document, signal)
  }
}

/** The text of an answer by which a registry says that it lacks something; undefined for any other answer. */
function unknownTo(error: unknown): string | undefined {
  const said = answerOf(error)
  // Docker's registry answers 500 for foreign layers, and calls them unknown even if they are there.
  if (!said || said.status >= 500) return undefined
  const isUnknown = said.errors.some(
    ({ code }) =>
      UNKNOWN.has(code) || (code === 'MANIFEST_INVALID' && /unknown|not found|missing/i.test(said.text)),
  )
  return isUnknown ? said.text : undefined
}

const UNKNOWN = new Set(['MANIFEST_BLOB_UNKNOWN', 'BLOB_UNKNOWN', 'MANIFEST_UNKNOWN'])

/** What the registry names as missing, and what it lacks when asked. Asking alone is not enough: caches can be stale. */
async function missingIn(
  document: ManifestOrIndex,
  repository: Repository,
  named: string,
  content: ManifestContent,
  signal: AbortSignal,
): Promise<Descriptor[]> {
  const missing = new Map<Digest, Descriptor>()
  for (const child of childrenOf(document)) {
    if (!content.documentOf(child.digest) && !content.isInBundle(child.digest)) continue
    if (named.includes(child.digest) || !(await isThere(child, repository, content, signal))) {
      missing.set(child.digest, child)
    }
  }
  return [...missing.values()]
}

async function isThere(
  { digest, size }: Descriptor,
  repository: Repository,
  content: ManifestContent,
  signal: AbortSignal,
): Promise<boolean> {
  if (content.documentOf(digest)) {
    try {
      return (await repository.resolveManifest(digest, signal)) !== undefined
    } catch (error) {
      if (isHeldBack(error)) return true
      throw error
    }
  }
  const there = await repository.statBlob(digest, signal)
  return there !== undefined && (there.size === undefined || there.size === size)
}
