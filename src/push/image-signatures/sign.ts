import { shortHex } from '../../oci/digest.ts'
import type { OnEvent } from '../../content/events.ts'
import { ImageProgress } from '../../content/image-progress.ts'
import { inParallel } from '../../content/parallel.ts'
import type { PushFailures } from '../push-failures.ts'
import { addCosignSignatures, findCosignSignatures } from './cosign.ts'
import { plannedSignatures, sourceIndexSignatures, type ImageSigning, type PlannedSignature } from './plan.ts'
import type { SignatureRecord } from './record.ts'
import { addBundleSignature, findBundleSignature } from './sigstore-bundle.ts'
import type { PlannedImage, PushPlan, PlannedIndex } from '../planned.ts'

/**
 * Signs the complete images of a push before they are tagged, so that no tag is without a signature. If there is already
 * a signature by the key, none is added. An image that cannot be signed counts as incomplete and gets no tag.
 */
export async function signImages(
  plan: PushPlan,
  signing: ImageSigning,
  options: {
    concurrency?: number | undefined
    signal?: AbortSignal | undefined
    onEvent?: OnEvent | undefined
  },
  record: SignatureRecord,
  failures: PushFailures,
): Promise<void> {
  const { onEvent } = options
  const all = plannedSignatures(plan.images, signing.formats).filter(({ wanted }) =>
    wanted.some(({ planned }) => failures.isWhole(planned)),
  )
  if (all.length === 0) return
  const images = progressOf(all, onEvent)
  onEvent?.({ type: 'phase', phase: 'sign', items: all.length, bytes: 0, images: images.count })
  await inParallel(all, options, async (signature, signal) => {
    const { repository, document, wanted } = signature
    const whole = wanted.filter(({ planned }) => failures.isWhole(planned))
    if (whole.length === 0) return
    const what = `signature of ${shortHex(document.digest)}`
    const affected = whole.map(({ planned }) => planned)
    await failures.attemptFor(affected, repository, what, signal, async (own) => {
      const outcome = await ensureSignature({ ...signature, wanted: whole }, signing, record, own)
      const { digest } = document
      onEvent?.({
        type: 'item',
        name: `${shortHex(digest)} in ${repository.name}`,
        bytes: 0,
        outcome,
        digest,
      })
      images.done(partOf(signature), outcome)
    })
  })
}

function partOf({ repository, document, format }: PlannedSignature): string {
  return `${repository.name} ${document.digest} ${format}`
}

function progressOf(all: readonly PlannedSignature[], onEvent: OnEvent | undefined): ImageProgress {
  const parts = new Map<PlannedImage, string[]>()
  for (const signature of all) {
    for (const { planned } of signature.wanted) {
      const known = parts.get(planned)
      if (known) known.push(partOf(signature))
      else parts.set(planned, [partOf(signature)])
    }
  }
  const images = [...parts].map(([{ image }, of]) => ({ name: image.source, bytes: image.size, parts: of }))
  return new ImageProgress(images, onEvent)
}

/**
 * Makes sure that a manifest or index has its signature.
 * @returns whether a signature was made for that.
 */
export async function ensureSignature(
  { repository, document, format, wanted }: PlannedSignature,
  { key }: ImageSigning,
  record: SignatureRecord,
  signal: AbortSignal,
): Promise<'signed' | 'present'> {
  const references = [...new Set(wanted.map(({ reference }) => reference))]
  const found = await presentSignatures({ repository, document, format, references }, key.publicKey, signal)
  const lacking = references.filter((reference) => !found.has(reference))
  if (lacking.length > 0) {
    if (format === 'cosign') await addCosignSignatures(repository, document.digest, lacking, key, signal)
    else await addBundleSignature(repository, document, key, signal)
  }
  for (const reference of references) {
    record.set(repository, document.digest, format, reference, found.has(reference) ? 'present' : 'signed')
  }
  return lacking.length > 0 ? 'signed' : 'present'
}

/** Which of the references have a signature. */
export async function presentSignatures(
  { repository, document, format, references }: Omit<PlannedSignature, 'wanted'> & { references: string[] },
  key: ImageSigning['key']['publicKey'],
  signal?: AbortSignal,
): Promise<Set<string>> {
  const { digest } = document
  if (format === 'cosign') return findCosignSignatures(repository, digest, references, key, signal)
  const isThere = await findBundleSignature(repository, digest, key, signal)
  return new Set(isThere ? references : [])
}

/** Signs the sources' own indexes, which are put last: each after it is put by digest and before it is tagged. */
export function beforeSourceIndexes(
  { images }: PushPlan,
  signing: ImageSigning | undefined,
  record: SignatureRecord,
): ((index: PlannedIndex, signal: AbortSignal) => Promise<void>) | undefined {
  if (!signing) return undefined
  const all = sourceIndexSignatures(images, signing.formats)
  return async ({ repository, digest }, signal) => {
    for (const signature of all) {
      if (signature.repository !== repository || signature.document.digest !== digest) continue
      await ensureSignature(signature, signing, record, signal)
    }
  }
}
