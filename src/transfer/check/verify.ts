import { blobName, digestOfBlobName } from '../../bundle/names.ts'
import type { BundleEntry } from '../../bundle/reader.ts'
import { AirgapError, type Problem } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { OnEvent } from '../events.ts'
import { ImageProgress } from '../image-progress.ts'
import type { TrustOptions } from './authenticate.ts'
import { hashRanges } from '../../hashing/range-threads.ts'
import { hashWhole } from '../../hashing/whole-file.ts'
import { openBundle } from './open.ts'
import { alteredMessage, type OpenedBundle } from './opened-bundle.ts'

export interface VerifyOptions {
  signal?: AbortSignal
  onEvent?: OnEvent
  /** Hashing threads; default one a core. */
  threads?: number
  /**
   * Hash the whole file, too, of a bundle that is refused as well: {@link OpenedBundle.fileDigest}. It is read once, in
   * its order, which leaves no more than two cores to be used.
   */
  wholeFile?: boolean
}

/**
 * The full verification of a bundle, offline: signature, archive, descriptions, graphs, and the content of every
 * entry. All problems found are in the result, each with its entry; a bundle without any is good.
 *
 * The caller closes `reader`.
 *
 * @throws AirgapError `FILE` when the file cannot be read; the signal's reason.
 */
export async function verifyBundle(
  path: string,
  trust: TrustOptions,
  options: VerifyOptions = {},
): Promise<OpenedBundle> {
  const opened = await openBundle(path, trust, options.signal)
  try {
    const isAuthentic = opened.authentication.state !== 'failed'
    if (isAuthentic || options.wholeFile) {
      const altered = await hashContent(opened, isAuthentic ? contentEntries(opened) : [], options)
      // What was altered has been said where it was read before.
      const known = new Set(opened.problems.map(({ entry }) => entry))
      opened.problems = opened.problems.concat(altered.filter(({ entry }) => !known.has(entry)))
      const isChanged = await opened.reader.isChanged()
      if (isChanged)
        opened.problems.push({ entry: 'the file', message: 'it was changed while it was verified' })
      if (isAuthentic) opened.checked.set('content', altered.length + Number(isChanged))
    }
    return opened
  } catch (error) {
    await opened.reader.close()
    throw error
  }
}

/** The entries whose content has not been hashed by the checks before: all blobs. */
export function contentEntries(opened: OpenedBundle): BundleEntry[] {
  return [...opened.entries.values()].filter(({ name }) => digestOfBlobName(name) !== undefined)
}

/** Step 6: hashes entries against the list. */
async function hashContent(
  opened: OpenedBundle,
  entries: readonly BundleEntry[],
  { onEvent, signal, threads, wholeFile }: VerifyOptions,
): Promise<Problem[]> {
  const { reader } = opened
  const problems: Problem[] = []
  const bytes = wholeFile ? reader.fileSize : entries.reduce((sum, { size }) => sum + size, 0)
  const images = imagesOf(opened, entries, onEvent)
  onEvent?.({ type: 'phase', phase: 'check', items: entries.length, bytes, images: images.count })
  const onEntry = (entry: BundleEntry, digest: Digest): void => {
    const expected = opened.checksums.get(entry.name)
    if (expected !== undefined && digest !== expected) {
      problems.push({ entry: entry.name, message: alteredMessage(digest, expected) })
    }
    onEvent?.({ type: 'item', name: entry.name, bytes: entry.size, outcome: 'checked' })
    images.done(entry.name, 'checked')
  }
  const hashing = {
    ...(onEvent ? { onProgress: (done: number) => onEvent({ type: 'progress', bytes: done }) } : {}),
    ...(signal ? { signal } : {}),
  }
  if (wholeFile) opened.fileDigest = await hashWhole(reader, entries, onEntry, hashing)
  else
    await hashRanges(reader, entries, onEntry, { ...hashing, ...(threads === undefined ? {} : { threads }) })
  return problems.toSorted((a, b) => (a.entry < b.entry ? -1 : 1))
}

/** The images that any of these entries belongs to. */
function imagesOf(
  opened: OpenedBundle,
  entries: readonly BundleEntry[],
  onEvent: OnEvent | undefined,
): ImageProgress {
  const names = new Set(entries.map(({ name }) => name))
  const images = opened.images.map(({ image, closure, referrers }) => ({
    name: image.source,
    bytes: image.size,
    parts: [closure, ...referrers.map((one) => one.closure)]
      .flatMap(({ documents, blobs }) => Array.from(documents.keys()).concat(Array.from(blobs.keys())))
      .map(blobName)
      .filter((one) => names.has(one)),
  }))
  return new ImageProgress(
    images.filter(({ parts }) => parts.length > 0),
    onEvent,
  )
}

/**
 * Hashes entries against the list, and goes no further where one is altered.
 * @throws AirgapError `VERIFICATION_FAILED`
 */
export async function requireContent(
  opened: OpenedBundle,
  entries: readonly BundleEntry[],
  options: VerifyOptions,
): Promise<void> {
  refuse(opened, await hashContent(opened, entries, options))
}

/** @throws AirgapError `VERIFICATION_FAILED` when there are any problems. */
export function refuse(opened: OpenedBundle, problems: readonly Problem[]): void {
  if (problems.length === 0) return
  opened.checked.set('content', problems.length)
  opened.problems = opened.problems.concat(problems)
  throw verificationError(opened.reader.path, opened)
}

/** The error for a bundle that is not good. */
export function verificationError(path: string, opened: OpenedBundle): AirgapError {
  const { problems, authentication } = opened
  let hint = 'Do not use it. Compare its SHA-256 with the one on the other side, and bring it across again.'
  if (authentication.state === 'failed' && authentication.isUnsigned) {
    hint =
      'Ask for a signed one. To do without a signature, say so: verify --integrity-only, push or serve --allow-unsigned.'
  } else if (authentication.state === 'failed' && authentication.signers) {
    hint =
      'Nothing in it was looked at further. Have those sign who are missing, and give their signatures with --signature FILE; a signature that is refused helps nobody. The policy itself is changed only by those who answer for it.'
  } else if (authentication.state === 'failed' && authentication.hint !== undefined) {
    hint = authentication.hint
  } else if (problems.every(({ kind }) => kind === 'expectation')) {
    hint =
      'The file is sound, and is not the bundle that is expected. Bring the right one; or, if this one is right, correct what is expected of it. An expired bundle has to be packed again.'
  }
  return new AirgapError('VERIFICATION_FAILED', `${path} is not a good bundle: ${countProblems(problems)}`, {
    problems: [...problems],
    hint,
  })
}

function countProblems(problems: readonly Problem[]): string {
  return problems.length === 1 ? '1 problem' : `${problems.length} problems`
}
