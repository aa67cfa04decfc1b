import type { Hint } from '../hints.ts'
import type { ErrorCode } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { MirrorUse } from '../registry/mirrors/mirrors.ts'
import type { RegistryNotice } from '../registry/notices.ts'

/**
 * What an engine tells while it works. Engines print nothing; whoever calls them draws these, or does not.
 * All sizes are bytes.
 */
export type TransferEvent =
  /**
   * A part of the work with a known total begins. `items` are blobs, except where a phase works on images as such
   * (resolve, referrers, upstream, tag); `images` are those that are complete when their blobs are.
   */
  | { type: 'phase'; phase: Phase; items: number; bytes: number; images?: number }
  /** The present phase has more to do than it began with: what was to be mounted is uploaded. */
  | { type: 'more'; bytes: number }
  /** More bytes of the present phase are done. What has to be sent again counts once. */
  | { type: 'progress'; bytes: number }
  /** One thing of the present phase is finished: an image or a blob, as `name` says. */
  | { type: 'item'; name: string; bytes: number; outcome: ItemOutcome; digest?: Digest }
  /** All blobs of an image are done in the present phase. */
  | { type: 'image'; name: string; bytes: number; outcome: ItemOutcome }
  /** Told before anything is asked: which mirrors are in use, and where they are configured. */
  | { type: 'mirrors'; inUse: readonly MirrorUse[] }
  /**
   * An unfinished file is gone on with; it has so many of the bytes of blobs, or is thought to: they are hashed first.
   * `begun` is when its first run began, RFC 3339.
   */
  | { type: 'resume'; file: string; bytes: number; total: number; begun: string }
  /** A key that a program holds signs now: the program may ask for a PIN, on the terminal. */
  | { type: 'signing'; by: string }
  /**
   * One image or blob could not be had or sent, and the work goes on; of several that fail alike, the first. The error at
   * the end has all of them.
   */
  | { type: 'failed'; name: string; code: ErrorCode; message: string }
  /** Something that a person should know and that does not stop the work. */
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
 * Progress of one blob, told as its bytes so far, as events, which tell what has been added. A transfer that starts
 * over adds nothing until it is further than before.
 * @param begun bytes that were there before; starting over then is more to do than the phase began with.
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

/** A number of blobs, and their bytes together. */
export interface Amount {
  count: number
  bytes: number
}
