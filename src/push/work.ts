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

/** How a push treats existing content of the target. */
export interface TargetOptions {
  /** Move tags that point to another digest. */
  moveTags?: boolean | undefined
  /** Read the target's blobs back and hash them before tags are set. */
  verifyTarget?: boolean | undefined
}

/** What the steps of a push need in addition to the plan. */
export interface PushRun extends TargetOptions, Partial<Run>, Pick<NetworkOptions, 'concurrency'> {
  client: RegistryClient
  /** Sign the pushed images before tags are set. */
  signImages?: ImageSigning | undefined
  /** Remembers unfinished uploads between runs. */
  uploads?: Pick<UploadState, 'of'> | undefined
  /** Explains a registry's refusal if the cause is known. */
  explain?: (error: AirgapError) => Promise<AirgapError>
  /** Called once, before the first tag is set. If it fails, no tag is set. */
  beforeTags?: () => Promise<void>
}

/** What the steps of a running push share. */
export interface PushWork {
  opened: OpenedBundle
  plan: PushPlan
  options: PushRun
  /** Records everything that is done. */
  record: PushRecord
  /** Records which images are incomplete. */
  failures: PushFailures
}
