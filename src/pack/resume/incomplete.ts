import type { ImageEntry } from '../../bundle/description.ts'
import type { AirgapError } from '../../errors.ts'
import { shortHex } from '../../oci/digest.ts'
import { allFailed, groupAlike, incomplete, isOfOneImage, type ImageFailure } from '../../content/failures.ts'
import type { BlobToFetch } from '../contents.ts'
import type { Hint } from '../../hints.ts'

/** A blob that no source had. */
export interface MissingBlob {
  blob: BlobToFetch
  error: AirgapError
}

/** @param images how many there are, including those that failed. */
export function unresolved(failed: readonly ImageFailure[], images: number): AirgapError {
  const isResolving = !failed.some(isUnverified)
  return incomplete(factsOf(failed, images).join(', and '), failed, [
    'Nothing was written. Fix this and run the same command again.',
    { id: 'go-on-without', images: namesOf(failed), canSkip: isResolving },
  ])
}

/** Whether the image exists, but its upstream's signature is not good: it must not be left out silently. */
function isUnverified({ error }: ImageFailure): boolean {
  return error.code === 'UPSTREAM_NOT_VERIFIED'
}

/** How many images failed before anything was fetched, and why. */
function factsOf(failed: readonly ImageFailure[], images: number): string[] {
  const unverified = failed.filter(isUnverified).length
  const others = failed.length - unverified
  return [
    ...(others > 0 ? [`${others} of ${images} images could not be resolved`] : []),
    ...(unverified > 0
      ? [`${unverified} of ${images} images could not be verified by their upstream's signatures`]
      : []),
  ]
}

/**
 * The error of a stream that broke off at a blob: the cause's own, because a stream cannot be resumed.
 * @param images all images of the bundle.
 */
export function brokenOff(error: unknown, blob: BlobToFetch, images: readonly ImageEntry[]): unknown {
  if (!isOfOneImage(error) || blob.images.length === images.length) return error
  const ways: Hint[] = [
    '\nWhat was written is not a whole bundle.',
    { id: 'go-on-without', images: blob.images.map(({ source }) => source), canSkip: false },
  ]
  return error.with({ hint: [...error.hints, ...ways], cause: error })
}

/** A blob of an image, for messages. */
export function partOf({ descriptor: { digest, size } }: BlobToFetch): string {
  return `blob ${shortHex(digest)} (${size} bytes)`
}

/**
 * The error of a bundle that could only be fetched in part. What was fetched is in the unfinished file.
 * @param path of the bundle.
 * @param images those that were resolved, in their order.
 * @param blobs how many blobs the bundle has, apart from its manifests.
 */
export function unfinished(
  path: string,
  images: readonly ImageEntry[],
  {
    failed,
    missing,
    blobs,
  }: { failed: readonly ImageFailure[]; missing: readonly MissingBlob[]; blobs: number },
): AirgapError {
  const fetching = failuresOf(images, missing)
  const concerned = new Set(fetching.map(({ source }) => source))
  const codes = new Set(missing.map(({ error }) => error.code))
  if (failed.length === 0 && missing.length === blobs && codes.size === 1) {
    return allFailed(oncePerBlob(fetching, missing), `none of the ${blobs} blobs could be fetched`)
  }
  const facts = [
    ...factsOf(failed, failed.length + images.length),
    ...(missing.length > 0
      ? [
          `${missing.length} of ${blobs} blobs could not be fetched, which ${concerned.size} of ${failed.length + images.length} images need`,
        ]
      : []),
  ]
  const all = [...failed, ...fetching]
  const isAnyLeft = concerned.size < images.length
  return incomplete(`${path} is not finished: ${facts.join(', and ')}`, all, [
    'What was fetched is kept. Fix this and run the same command again: only what is missing is fetched.',
    ...(isAnyLeft ? waysWithout(failed, all) : []),
  ])
}

function waysWithout(failed: readonly ImageFailure[], all: readonly ImageFailure[]): Hint[] {
  const isResolving = failed.length === all.length && !failed.some(isUnverified)
  return [{ id: 'go-on-without', images: namesOf(all), canSkip: isResolving }]
}

function namesOf(failures: readonly ImageFailure[]): string[] {
  return [...new Set(failures.map(({ source }) => source))]
}

/** The failures of the images, in their order. */
function failuresOf(images: readonly ImageEntry[], missing: readonly MissingBlob[]): ImageFailure[] {
  const order = new Map(images.map(({ source }, i) => [source, i]))
  const all = missing.flatMap(({ blob, error }) =>
    blob.images.map(({ source }) => ({ source, part: partOf(blob), error })),
  )
  return groupAlike(all).toSorted((a, b) => (order.get(a.source) ?? 0) - (order.get(b.source) ?? 0))
}

/** A single blob that several images need is one failure. */
function oncePerBlob(failures: ImageFailure[], missing: readonly MissingBlob[]): ImageFailure[] {
  return missing.length === 1 ? failures.slice(0, 1) : failures
}
