import type { ErrorCode } from '../errors.ts'
import type { TransferEvent } from '../content/events.ts'
import type { NetworkOptions, RegistryAccess } from '../registry/options.ts'

/** What the thread is given that fetches from a TUF repository. */
export interface TufTask {
  mirror: string
  target: string
  /** The initial root, where it is not the public instance's. */
  root: Uint8Array
  /** A folder of its own: metadata and targets are kept there. */
  folder: string
  network: Pick<NetworkOptions, 'retries' | 'timeout'> & { registries: Omit<RegistryAccess, 'credentials'> }
}

export type TufReply =
  | { type: 'event'; event: TransferEvent }
  | { type: 'done' }
  /** Something that could not be had, or anything else that is an error of ours. */
  | { type: 'failed'; code: ErrorCode; message: string; hint: string | undefined }
  /** What was had does not verify. */
  | { type: 'unverified'; name: string; message: string }

/** Where the thread keeps the initial root. */
export const INITIAL_ROOT = 'initial-root.json'
/** The folder of the client, within which it makes one for the mirror. */
export const CACHE = 'cache'

/** What is fetched, as Sigstore's repositories call it. */
export const TARGET = 'trusted_root.json'
