import type { RegistryNotice } from '../registry/notices.ts'

/**
 * What an engine tells while it works. Engines print nothing; whoever calls them draws these, or does not.
 * All sizes are bytes.
 */
export type TransferEvent =
  /** A part of the work with a known total begins. */
  | { type: 'phase'; phase: Phase; items: number; bytes: number }
  /** More bytes of the present phase are done. Negative when a transfer had to start over. */
  | { type: 'progress'; bytes: number }
  /** One thing of the present phase is finished: an image or a blob, as `name` says. */
  | { type: 'item'; name: string; bytes: number; outcome: ItemOutcome }
  /** Something that a person should know and that does not stop the work. */
  | { type: 'warning'; message: string }
  | { type: 'registry'; notice: RegistryNotice }

export type Phase = 'resolve' | 'reuse' | 'fetch' | 'check' | 'upload' | 'tag' | 'read-back'

export type ItemOutcome =
  'resolved' | 'reused' | 'fetched' | 'checked' | 'uploaded' | 'mounted' | 'present' | 'tagged' | 'confirmed'

export type OnEvent = (event: TransferEvent) => void

/** Progress of one blob, told as its bytes so far, as events, which tell what has been added. */
export function blobProgress(onEvent: OnEvent | undefined): { onProgress?: (bytes: number) => void } {
  if (!onEvent) return {}
  let known = 0
  return {
    onProgress: (bytes) => {
      onEvent({ type: 'progress', bytes: bytes - known })
      known = bytes
    },
  }
}
