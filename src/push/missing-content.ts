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

/** Where the content of manifests comes from. */
interface ManifestContent {
  documentOf(digest: Digest): DocumentNode | undefined
  /** Reads one again, out of the bundle. */
  read(node: DocumentNode): Promise<ManifestOrIndex>
  isInBundle(digest: Digest): boolean
  upload(repository: Repository, blob: { digest: Digest; size: number }, signal: AbortSignal): Promise<void>
  onSentAgain(message: string): void
}

/** What a push is made of, and how it uploads one blob. */
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

/** The content of a push's manifests, with what is sent again recorded and told as all else is. */
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
 * Puts a manifest. Where the registry answers that it does not know something in it, though it had it when it was
 * asked (garbage collection may have run since), that is sent again, and the manifest put once more.
 *
 * @throws AirgapError the registry's refusal, also where nothing turns out to be missing.
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
      `${repository.name} had dropped ${what} of ${document.digest} since the push began (garbage collection?); sent again`,
    )
    await repository.putManifest(ref, document, signal)
  }
}

/** What a registry says it does not know: the text of its answer; undefined where it says something else. */
function unknownTo(error: unknown): string | undefined {
  const said = answerOf(error)
  // docker-registry answers 500 to foreign layers, and calls them unknown whether they are there or not.
  if (!said || said.status >= 500) return undefined
  const isUnknown = said.errors.some(
    ({ code }) =>
      UNKNOWN.has(code) || (code === 'MANIFEST_INVALID' && /unknown|not found|missing/i.test(said.text)),
  )
  return isUnknown ? said.text : undefined
}

const UNKNOWN = new Set(['MANIFEST_BLOB_UNKNOWN', 'BLOB_UNKNOWN', 'MANIFEST_UNKNOWN'])

/** What the registry names, and what it does not have when asked: it may answer from a memory that is not right. */
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
