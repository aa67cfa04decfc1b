import type { Hint } from '../hints.ts'
import type { ErrorCode } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { MirrorUse } from '../registry/mirrors/mirrors.ts'
import type { RegistryNotice } from '../registry/notices.ts'

/**
 * What an engine reports while it works. Engines print nothing; what to show is up to the caller. All sizes are in bytes.
 */
export type TransferEvent =
  /**
   * A phase begins, with a known total. `items` counts blobs, or images in the phases that work on whole images
   * (resolve, referrers, upstream, tag). `images` counts the images that are complete once their blobs are.
   */
  | { type: 'phase'; phase: Phase; items: number; bytes: number; images?: number }
  /** The current phase has more to do than announced, such as a blob that is uploaded because it could not be mounted. */
  | { type: 'more'; bytes: number }
  /** More bytes of the current phase are done. What has to be sent again counts once. */
  | { type: 'progress'; bytes: number }
  /** One item of the current phase is finished: the image or blob that `name` says. */
  | { type: 'item'; name: string; bytes: number; outcome: ItemOutcome; digest?: Digest }
  /** All blobs of an image are done in the current phase. */
  | { type: 'image'; name: string; bytes: number; outcome: ItemOutcome }
  /** Which mirrors are in use, and where they are configured. Comes before the first request. */
  | { type: 'mirrors'; inUse: readonly MirrorUse[] }
  /**
   * An unfinished file is resumed. `bytes` of its `total` bytes of blobs seem to be there; they are still to be hashed.
   * `begun` is when its first run began, RFC 3339.
   */
  | { type: 'resume'; file: string; bytes: number; total: number; begun: string }
  /** A program that holds the key signs now. It may ask for a PIN on the terminal. */
  | { type: 'signing'; by: string }
  /**
   * An image or blob could not be fetched or sent, and the work continues. Of several that fail for the same reason, only
   * the first is reported here; the error at the end has all of them.
   */
  | { type: 'failed'; name: string; code: ErrorCode; message: string }
  /** Something that the user should know and that does not stop the work. */
  | { type: 'warning'; message: string; hints?: readonly Hint[] }
  | { type: 'registry'; notice: RegistryNotice }

export type Phase =
  | 'resolve'
  | 'referrers'
  | 'upstream'
  | 'resume'
  | 'reuse'
  | 'fetch'
  | 'check'
  | 'upload'
  | 'sign'
  | 'tag'
  | 'read-back'

export type ItemOutcome =
  | 'resolved'
  | 'listed'
  | 'verified'
  | 'unverified'
  | 'skipped'
  | 'resumed'
  | 'reused'
  | 'fetched'
  | 'checked'
  | 'uploaded'
  | 'mounted'
  | 'present'
  | 'signed'
  | 'tagged'
  | 'confirmed'

export type OnEvent = (event: TransferEvent) => void

/**
 * Turns the progress of one blob (its bytes so far) into `progress` events (the bytes added). A transfer that starts
 * over adds nothing until it gets further than before.
 * @param begun bytes that were there before. Starting over loses them, which a `more` event reports.
 */
export function blobProgress(
  onEvent: OnEvent | undefined,
  begun = 0,
): { onProgress?: (bytes: number) => void } {
  if (!onEvent) return {}
  let known = begun
  let isAnew = begun === 0
  return {
    onProgress: (bytes) => {
      if (!isAnew && bytes < begun) {
        isAnew = true
        known -= begun
        onEvent({ type: 'more', bytes: begun })
      }
      if (bytes <= known) return
      onEvent({ type: 'progress', bytes: bytes - known })
      known = bytes
    },
  }
}

/** A number of blobs, and their total size. */
export interface Amount {
  count: number
  bytes: number
}
