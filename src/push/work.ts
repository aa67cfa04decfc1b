import type { AirgapError } from '../errors.ts'
import type { RegistryClient } from '../registry/client.ts'
import type { UploadState } from '../registry/blobs/uploads/state/state.ts'
import type { OpenedBundle } from '../verify/opened-bundle.ts'
import type { OnEvent } from '../content/events.ts'
import type { ImageSigning } from './image-signatures/plan.ts'
import type { PushPlan } from './plan.ts'
import type { PushFailures } from './push-failures.ts'
import type { PushRecord } from './record.ts'

export interface PushOptions {
  client: RegistryClient
  /** Read the target's content back and hash it before any tag is set. */
  verifyTarget?: boolean
  /** Let tags move that point to another digest. */
  moveTags?: boolean
  /** Sign what was pushed, before tags are set. */
  signImages?: ImageSigning | undefined
  /** Blobs sent at a time. */
  concurrency?: number
  /** Remembers unfinished uploads from run to run. */
  uploads?: Pick<UploadState, 'of'>
  /** Makes of a registry's refusal what it means for the push, where more can be said than its answer does. */
  explain?: (error: AirgapError) => Promise<AirgapError>
  /** Called once, before the first tag is set; where it fails, none is. */
  beforeTags?: () => Promise<void>
  signal?: AbortSignal
  onEvent?: OnEvent
}

/** One push under way: what its steps share. */
export interface PushWork {
  opened: OpenedBundle
  plan: PushPlan
  options: PushOptions
  /** Is told of everything that is done. */
  record: PushRecord
  /** Knows which images lack something. */
  failures: PushFailures
}
