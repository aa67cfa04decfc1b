import type { AirgapError } from '../errors.ts'
import type { RegistryClient } from '../registry/client.ts'
import type { UploadState } from '../registry/blobs/uploads/state/state.ts'
import type { OpenedBundle } from '../verify/opened-bundle.ts'
import type { Run } from '../content/run.ts'
import type { NetworkOptions } from '../registry/options.ts'
import type { ImageSigning } from './image-signatures/plan.ts'
import type { PushFailures } from './push-failures.ts'
import type { PushRecord } from './record.ts'
import type { PushPlan } from './planned.ts'

/** How a push treats what is in the target already. */
export interface TargetOptions {
  /** Let tags move that point to another digest now. */
  moveTags?: boolean | undefined
  /** Read the target's blobs back and hash them before tags are set. */
  verifyTarget?: boolean | undefined
}

/** What the steps of a push need besides the plan. */
export interface PushRun extends TargetOptions, Partial<Run>, Pick<NetworkOptions, 'concurrency'> {
  client: RegistryClient
  /** Sign what was pushed, before tags are set. */
  signImages?: ImageSigning | undefined
  /** Remembers unfinished uploads from run to run. */
  uploads?: Pick<UploadState, 'of'> | undefined
  /** Makes of a registry's refusal what it means for the push, where more can be said than its answer does. */
  explain?: (error: AirgapError) => Promise<AirgapError>
  /** Called once, before the first tag is set; where it fails, none is. */
  beforeTags?: () => Promise<void>
}

/** One push under way: what its steps share. */
export interface PushWork {
  opened: OpenedBundle
  plan: PushPlan
  options: PushRun
  /** Is told of everything that is done. */
  record: PushRecord
  /** Knows which images lack something. */
  failures: PushFailures
}
