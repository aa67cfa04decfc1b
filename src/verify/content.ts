import { digestOfBlobName } from '../bundle/names.ts'
import type { BundleEntry } from '../bundle/reader.ts'
import { BLOCK, isZero } from '../bundle/tar.ts'
import { AirgapError, type Problem } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { OnEvent } from '../content/events.ts'
import { ImageProgress, imageByImage, type WaitingImage } from '../content/image-progress.ts'
import type { Trust } from './authenticate.ts'
import { hashRanges } from '../hashing/range-threads.ts'
import { hashWhole } from '../hashing/whole-file.ts'
import { openBundle } from './open.ts'
import { alteredMessage, type CutOff, type OpenedBundle } from './opened-bundle.ts'
import type { Hints } from '../hints.ts'

/** How to check a bundle's content. Callers of the library pass `VerifyOptions`. */
export interface CheckOptions {
  signal?: AbortSignal | undefined
  onEvent?: OnEvent | undefined
  /** Hashing threads; by default one for each core. */
  threads?: number
  /**
   * Also hash the whole file, even if the bundle is refused: {@link OpenedBundle.fileDigest}. The file is then read in
   * order, which can use two cores at most.
   */
  wholeFile?: boolean
}

/**
 * Verifies a bundle completely and offline: signature, archive, descriptions, graphs, and the content of every entry. The
 * result holds all problems, each with its entry; a bundle without any is good.
 *
 * The caller has to close `reader`.
 *
 * @throws AirgapError `FILE` if the file cannot be read; the signal's reason if aborted.
 */
export async function verifyBundle(
  path: string,
  trust: Trust,
  options: CheckOptions = {},
): Promise<OpenedBundle> {
  const opened = await openBundle(path, trust, options.signal)
  try {
    const isAuthentic = opened.authentication.state !== 'failed'
    if (isAuthentic || options.wholeFile) {
      const altered = await hashContent(opened, isAuthentic ? contentEntries(opened) : [], options)
      // Entries that were read earlier have been reported already.
      const known = new Set(opened.problems.map(({ entry }) => entry))
      const unwritten = await unwrittenEnd(opened)
      if (unwritten !== undefined) known.add(unwritten)
      opened.problems = opened.problems.concat(altered.filter(({ entry }) => !known.has(entry)))
      const isChanged = await opened.reader.isChanged()
      if (isChanged)
        opened.problems.push({ entry: 'the file', message: 'it was changed while it was verified' })
      // In a file that is cut off, not everything was hashed.
      if (isAuthentic && (!opened.cutOff || altered.length > 0))
        opened.checked.set('content', altered.length + Number(isChanged))
    }
    return opened
  } catch (error) {
    await opened.reader.close()
    throw error
  }
}

/** The last blob of a file that was not copied completely, if its end was never written and is zeros. */
async function unwrittenEnd({ cutOff, entries, reader }: OpenedBundle): Promise<string | undefined> {
  if (!cutOff || cutOff.there === reader.fileSize) return undefined
  const last = [...entries.values()].toSorted((a, b) => a.contentOffset - b.contentOffset).at(-1)
  if (!last || digestOfBlobName(last.name) === undefined) return undefined
  for await (const end of reader.stream(last, BLOCK, Math.max(0, last.size - BLOCK))) {
    if (!isZero(end)) return undefined
  }
  return last.name
}

/** The entries whose content the earlier checks have not hashed: all blobs. */
export function contentEntries(opened: OpenedBundle): BundleEntry[] {
  return [...opened.entries.values()].filter(({ name }) => digestOfBlobName(name) !== undefined)
}

/** Step 6 of the verification: hashes entries and compares them with the list. */
export async function hashContent(
  opened: OpenedBundle,
  entries: readonly BundleEntry[],
  { onEvent, signal, threads, wholeFile }: CheckOptions,
): Promise<Problem[]> {
  const { reader } = opened
  const problems: Problem[] = []
  const bytes = wholeFile ? reader.fileSize : entries.reduce((sum, { size }) => sum + size, 0)
  const parts = partsOfImages(opened, entries)
  const images = new ImageProgress(parts, onEvent)
  onEvent?.({ type: 'phase', phase: 'check', items: entries.length, bytes, images: images.count })
  images.begin()
  const onEntry = (entry: BundleEntry, digest: Digest): void => {
    const expected = opened.checksums.get(entry.name)
    if (expected !== undefined && digest !== expected) {
      problems.push({ entry: entry.name, message: alteredMessage(digest, expected) })
    }
    onEvent?.({ type: 'item', name: entry.name, bytes: entry.size, outcome: 'checked' })
    images.done(digestOfBlobName(entry.name) ?? entry.name, 'checked')
  }
  const hashing = {
    ...(onEvent ? { onProgress: (done: number) => onEvent({ type: 'progress', bytes: done }) } : {}),
    ...(signal ? { signal } : {}),
  }
  if (wholeFile) opened.fileDigest = await hashWhole(reader, entries, onEntry, hashing)
  else
    await hashRanges(reader, inOrder(entries, parts), onEntry, {
      ...hashing,
      ...(threads === undefined ? {} : { threads }),
    })
  return problems.toSorted((a, b) => (a.entry < b.entry ? -1 : 1))
}

/** Every image, with those of these entries that belong to it. */
function partsOfImages(opened: OpenedBundle, entries: readonly BundleEntry[]): WaitingImage[] {
  const digests = new Set(entries.map(({ name }) => digestOfBlobName(name)))
  return opened.images.map(({ image, closure, referrers }) => ({
    name: image.source,
    bytes: image.size,
    parts: [closure, ...referrers.map((one) => one.closure)]
      .flatMap(({ documents, blobs }) => Array.from(documents.keys()).concat(Array.from(blobs.keys())))
      .filter((one) => digests.has(one)),
    outcome: 'checked',
  }))
}

function inOrder(entries: readonly BundleEntry[], images: readonly WaitingImage[]): BundleEntry[] {
  const imagesOf = new Map<string, WaitingImage[]>()
  for (const image of images) {
    for (const digest of image.parts) {
      const others = imagesOf.get(digest)
      if (others) others.push(image)
      else imagesOf.set(digest, [image])
    }
  }
  return imageByImage(
    entries,
    ({ size }) => size,
    ({ name }) => imagesOf.get(digestOfBlobName(name) ?? name) ?? [],
  )
}

/**
 * Hashes entries, compares them with the list, and throws if one is altered.
 * @throws AirgapError `VERIFICATION_FAILED`
 */
export async function requireContent(
  opened: OpenedBundle,
  entries: readonly BundleEntry[],
  options: CheckOptions,
): Promise<void> {
  refuse(opened, await hashContent(opened, entries, options))
}

/** @throws AirgapError `VERIFICATION_FAILED` if there are any problems. */
export function refuse(opened: OpenedBundle, problems: readonly Problem[]): void {
  if (problems.length === 0) return
  opened.checked.set('content', problems.length)
  opened.problems = opened.problems.concat(problems)
  throw verificationError(opened.reader.path, opened)
}

/** The error for a bundle that is not good: the worst that is wrong, and what to do. */
export function verificationError(path: string, opened: OpenedBundle): AirgapError {
  const { authentication } = opened
  const problems = namedProblems(opened)
  const count = plural(problems.length, 'problem')
  let says = `is not a good bundle: ${count}`
  let hint: Hints = 'Do not use it. Compare its SHA-256 with that of the original, and transfer it again.'
  if (opened.cutOff) {
    says = cutOffText(opened.cutOff, problems)
    hint = cutOffHint(opened.cutOff, problems)
  } else if (authentication.state === 'failed' && authentication.isUnsigned) {
    says = 'is not signed'
    hint = ['Ask for a signed bundle, or accept it without a signature.', { id: 'allow-unsigned' }]
  } else if (authentication.state === 'failed' && authentication.signers) {
    says = `is not signed as the policy requires: ${count}`
    hint = [
      'Nothing else in it was checked. Get the missing signatures and pass them; a refused signature does not count. Only those who are responsible for the policy should change it.',
      { id: 'signature-files' },
    ]
  } else if (authentication.state === 'failed' && authentication.hint !== undefined) {
    hint = authentication.hint
    if (authentication.says !== undefined) says = authentication.says
  } else if (problems.every(({ kind }) => kind === 'expectation')) {
    says = `is not the expected bundle: ${count}`
    hint =
      'The file is sound, but it is not the expected bundle. Bring the right one, or, if this is the right one, change what you expect. Pack an expired bundle again, unless the clock is wrong.'
  }
  return new AirgapError('VERIFICATION_FAILED', `${path} ${says}`, { problems, hint })
}

/** The message about a file that was not copied completely. Also mentions other problems. */
function cutOffText({ there, whole, missing, entries }: CutOff, problems: readonly Problem[]): string {
  if (there === 0) return 'has nothing in it'
  const size =
    whole === undefined
      ? `it ends after ${grouped(there)} bytes`
      : `it has ${grouped(there)} of ${grouped(whole)} bytes`
  const lost = missing > 0 ? `, and ${missing} of ${entries} entries are missing or incomplete` : ''
  const others = problems.filter(({ kind }) => kind !== 'cut-off').length
  return `is cut off: ${size}${lost}${others > 0 ? `. It also has ${plural(others, 'other problem')}` : ''}`
}

/** Files on FAT32 have to be smaller than this. Bytes. */
const FAT_LIMIT = 2 ** 32

function cutOffHint({ whole }: CutOff, problems: readonly Problem[]): string {
  const isLarge = whole !== undefined && whole >= FAT_LIMIT
  const fat = isLarge ? ' FAT32 holds no file of 4 GiB or more: use exFAT, ext4 or NTFS.' : ''
  const others = problems.some(({ kind }) => kind !== 'cut-off')
  return `Copy it again: the medium was full, or was removed before everything was written (\`sync\`, then unmount it).${fat} Then ${others ? 'see whether the other problems remain' : 'verify the copy'}.`
}

/** All problems. Those of blobs name the images that the blobs belong to. */
export function namedProblems(opened: OpenedBundle): Problem[] {
  return opened.problems.map((problem) => withImages(problem, opened))
}

function withImages(problem: Problem, { images, faulty }: OpenedBundle): Problem {
  const digest = digestOfBlobName(problem.entry)
  if (!digest) return problem
  const holders = images.filter(
    ({ closure, evidence, referrers }) =>
      [closure, ...referrers.map((one) => one.closure)].some(
        ({ documents, blobs }) => documents.has(digest) || blobs.has(digest),
      ) || evidence.some((index) => index.digest === digest),
  )
  const names = new Set([...(faulty.get(problem.entry) ?? []), ...holders.map(({ image }) => image.source)])
  const [first, ...others] = names
  if (first === undefined) return problem
  const more = others.length > 0 ? ` and ${plural(others.length, 'other image')}` : ''
  return { ...problem, message: `${problem.message}. It belongs to ${first}${more}` }
}

function grouped(bytes: number): string {
  return bytes.toLocaleString('en-US')
}

function plural(count: number, one: string): string {
  return `${count} ${one}${count === 1 ? '' : 's'}`
}
