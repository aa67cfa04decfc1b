import { blobName } from '../../bundle/names.ts'
import { AirgapError, type Problem } from '../../errors.ts'
import { shortHex, type Digest } from '../../oci/digest.ts'
import { downloadBlob } from '../../registry/download.ts'
import type { RegistryClient } from '../../registry/client.ts'
import type { Repository } from '../../registry/repository.ts'
import { contentEntries, hashContent, verificationError } from '../check/verify.ts'
import type { OpenedBundle } from '../check/opened-bundle.ts'
import { blobProgress, type OnEvent } from '../events.ts'
import { inParallel } from '../parallel.ts'
import type { Target } from './names.ts'
import { mountsOf, uploadsOf, type PlannedBlobTransfer, type PlannedImage, type PushPlan } from './plan.ts'
import { makeReceipt, Outcomes, type Receipt } from './receipt.ts'

export interface PushOptions {
  client: RegistryClient
  target: Target
  /** Read the target's blobs back and hash them before any tag is set. */
  verifyTarget?: boolean
  /** Blobs sent at a time. */
  concurrency?: number
  signal?: AbortSignal
  onEvent?: OnEvent
}

/**
 * Executes a plan: every entry of the bundle is hashed, whether it is sent or not; blobs go before manifests,
 * children before parents, and tags last, after everything else is in its place. Each tag is then read back.
 *
 * @throws AirgapError `VERIFICATION_FAILED` when the bundle's content is altered: no tag has been set then.
 */
export async function executePush(
  opened: OpenedBundle,
  plan: PushPlan,
  options: PushOptions,
): Promise<Receipt> {
  const { description } = opened
  if (!description) throw new AirgapError('INTERNAL', 'a bundle without a description was to be pushed')
  const started = new Date()
  const outcomes = new Outcomes()
  await checkWhatStays(opened, plan, options)
  await sendBlobs(opened, plan, options, outcomes)
  await sendManifests(plan, options, outcomes)
  if (options.verifyTarget) await readBack(plan, options, outcomes)
  await setTags(plan, options)
  const origin = await options.client.originOf(options.target.registry)
  return makeReceipt(opened, description, { ...options.target, origin }, plan.images, outcomes, {
    started,
    finished: new Date(),
  })
}

/** Hashes the entries that are not going to be sent; those that are get hashed on their way. */
async function checkWhatStays(opened: OpenedBundle, plan: PushPlan, options: PushOptions): Promise<void> {
  const sent = new Set(
    plan.blobs.filter((blob) => uploadsOf(blob).length > 0).map(({ digest }) => blobName(digest)),
  )
  const entries = contentEntries(opened).filter(({ name }) => !sent.has(name))
  failOn(opened, await hashContent(opened, entries, options))
}

function failOn(opened: OpenedBundle, problems: Problem[]): void {
  if (problems.length === 0) return
  opened.problems.push(...problems)
  throw verificationError(opened.reader.path, opened)
}

async function sendBlobs(
  opened: OpenedBundle,
  plan: PushPlan,
  options: PushOptions,
  outcomes: Outcomes,
): Promise<void> {
  const { onEvent } = options
  onEvent?.({
    type: 'phase',
    phase: 'upload',
    items: plan.uploadCount + plan.mountCount,
    bytes: plan.uploadBytes,
  })
  const largestFirst = plan.blobs.toSorted((a, b) => b.size - a.size)
  const altered: Problem[] = []
  await inParallel(largestFirst, options, async (blob, signal) => {
    for (const repository of blob.present)
      outcomes.set(repository.name, blob.digest, blob.size, 'present, not read')
    try {
      for (const repository of uploadsOf(blob)) {
        await upload(opened, blob, repository, options, signal)
        outcomes.set(repository.name, blob.digest, blob.size, 'uploaded')
      }
    } catch (error) {
      if (error instanceof AirgapError && error.code === 'INVALID_CONTENT') {
        altered.push({ entry: blobName(blob.digest), message: error.message })
      }
      throw error
    }
    await mountOrUpload(opened, blob, options, outcomes, signal)
  }).catch((error: unknown) => {
    failOn(opened, altered)
    throw error
  })
}

async function mountOrUpload(
  opened: OpenedBundle,
  blob: PlannedBlobTransfer,
  options: PushOptions,
  outcomes: Outcomes,
  signal: AbortSignal,
): Promise<void> {
  const from = blob.present[0] ?? uploadsOf(blob)[0]
  for (const repository of mountsOf(blob)) {
    const isMounted = from !== undefined && (await repository.mountBlob(blob.digest, from.repository, signal))
    if (isMounted) {
      outcomes.set(repository.name, blob.digest, blob.size, 'mounted')
      options.onEvent?.({
        type: 'item',
        name: `${shortHex(blob.digest)} in ${repository.name}`,
        bytes: blob.size,
        outcome: 'mounted',
      })
    } else {
      await upload(opened, blob, repository, options, signal)
      outcomes.set(repository.name, blob.digest, blob.size, 'uploaded')
    }
  }
}

async function upload(
  opened: OpenedBundle,
  blob: PlannedBlobTransfer,
  repository: Repository,
  { onEvent }: PushOptions,
  signal: AbortSignal,
): Promise<void> {
  const entry = opened.entries.get(blobName(blob.digest))
  if (!entry) throw new AirgapError('INTERNAL', `${blob.digest} is not in the bundle`)
  const { onProgress } = blobProgress(onEvent)
  await repository.uploadBlob(blob, () => opened.reader.stream(entry), signal, onProgress)
  onEvent?.({
    type: 'item',
    name: `${shortHex(blob.digest)} to ${repository.name}`,
    bytes: blob.size,
    outcome: 'uploaded',
  })
}

/** Children before parents: a registry refuses an index whose children it does not have. */
async function sendManifests(plan: PushPlan, options: PushOptions, outcomes: Outcomes): Promise<void> {
  const byRepository = Map.groupBy(plan.manifests, ({ repository }) => repository)
  await inParallel([...byRepository.values()], options, async (manifests, signal) => {
    for (const { document, repository, isPresent } of manifests) {
      const size = document.bytes.length
      if (isPresent) {
        outcomes.set(repository.name, document.digest, size, 'present, not read')
        continue
      }
      await repository.putManifest(document.digest, document, signal)
      outcomes.set(repository.name, document.digest, size, 'uploaded')
    }
  })
}

/** Reads every blob back once: a registry's word that it has one says nothing about its bytes. */
async function readBack(plan: PushPlan, options: PushOptions, outcomes: Outcomes): Promise<void> {
  const { client, onEvent } = options
  onEvent?.({
    type: 'phase',
    phase: 'read-back',
    items: plan.blobs.length,
    bytes: plan.blobs.reduce((sum, { size }) => sum + size, 0),
  })
  await inParallel(plan.blobs, options, async (blob, signal) => {
    const source = [...blob.present, ...blob.damaged, ...blob.missing][0]
    if (!source) return
    const descriptor = { mediaType: 'application/octet-stream', digest: blob.digest, size: blob.size }
    const sink = { restartable: true, write: async () => {} }
    await downloadBlob([source], descriptor, sink, {
      client,
      signal,
      ...blobProgress(onEvent),
    })
    outcomes.markRead(blob.digest)
    onEvent?.({
      type: 'item',
      name: `${shortHex(blob.digest)} in ${source.name}`,
      bytes: blob.size,
      outcome: 'confirmed',
    })
  })
}

/** Sets the tags, and confirms each by reading the manifest back under it and hashing it. */
async function setTags(plan: PushPlan, options: PushOptions): Promise<void> {
  const { onEvent } = options
  onEvent?.({ type: 'phase', phase: 'tag', items: plan.images.length, bytes: 0 })
  const unique = new Map(
    plan.images.map((planned) => [`${planned.repository.name}:${planned.name.tag}`, planned]),
  )
  await inParallel([...unique], options, async ([name, planned], signal) => {
    const { image, repository, tagNow } = planned
    if (tagNow !== image.digest) await repository.putManifest(planned.name.tag, rootOf(planned), signal)
    const there = await repository.fetchManifest(planned.name.tag, signal)
    if (there.digest !== image.digest) throw notConfirmed(name, image.digest, there.digest)
    onEvent?.({ type: 'item', name, bytes: 0, outcome: 'tagged' })
  })
}

function rootOf({ image, graph }: PlannedImage): { bytes: Uint8Array; mediaType: string; digest: Digest } {
  const root = graph.closure.documents.get(image.digest)
  if (!root) throw new AirgapError('INTERNAL', `${image.source} has no manifest`)
  return root
}

function notConfirmed(name: string, expected: Digest, actual: Digest): AirgapError {
  return new AirgapError('CONTENT_MISMATCH', `${name} was set to ${expected}, but reads back as ${actual}`, {
    hint: 'Somebody else has set the tag at the same time, or a cache stands in front of the registry. Push again.',
  })
}
