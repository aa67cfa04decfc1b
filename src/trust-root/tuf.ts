import { AirgapError, type ErrorCode } from '../errors.ts'
import { oneLine } from '../registry/faults/quote.ts'
import { startThread } from '../threads.ts'
import type { Run } from '../content/run.ts'
import type { TransferEvent } from '../content/events.ts'
import type { NetworkOptions, RegistryAccess } from '../registry/options.ts'
import type { Hint, Hints } from '../hints.ts'

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
  | { type: 'failed'; code: ErrorCode; message: string; hints: readonly Hint[] }
  /** What was had does not verify. */
  | { type: 'unverified'; name: string; message: string }

/** Where the thread keeps the initial root. */
export const INITIAL_ROOT = 'initial-root.json'
/** The folder of the client, within which it makes one for the mirror. */
export const CACHE = 'cache'

/** What is fetched, as Sigstore's repositories call it. */
export const TARGET = 'trusted_root.json'

/** A repository is some hundred KiB; what is hostile is not to take the machine. MiB. */
const MEMORY_MB = 256

/**
 * Fetches a target into the task's folder, in a thread of its own.
 * @throws AirgapError `VERIFICATION_FAILED`, those of requests; the signal's reason.
 */
export async function fetchTarget(task: TufTask, { signal, onEvent }: Run): Promise<void> {
  signal.throwIfAborted()
  // What the library writes first elsewhere is in that folder, too.
  const env = { ...process.env, TMPDIR: task.folder }
  const thread = startThread('tuf', {
    workerData: task,
    env,
    resourceLimits: { maxOldGenerationSizeMb: MEMORY_MB },
  })
  const stop = Promise.withResolvers<never>()
  const onAbort = (): void => stop.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await Promise.race([
      stop.promise,
      new Promise<void>((resolve, reject) => {
        thread.on('message', (reply: TufReply) => {
          if (reply.type === 'event') onEvent(reply.event)
          else if (reply.type === 'done') resolve()
          else reject(asError(reply, task))
        })
        thread.on('error', reject)
        thread.on('exit', () => reject(new AirgapError('INTERNAL', 'the thread of the TUF client has ended')))
      }),
    ])
  } finally {
    signal.removeEventListener('abort', onAbort)
    await thread.terminate()
  }
}

function asError(
  reply: Extract<TufReply, { type: 'failed' | 'unverified' }>,
  { mirror }: TufTask,
): AirgapError {
  if (reply.type === 'failed') return new AirgapError(reply.code, reply.message, { hint: reply.hints })
  const { name, message } = reply
  const hint: Hints =
    name === 'ExpiredMetadataError'
      ? 'The repository has not been renewed, or something in between keeps an old copy. Is this machine’s clock right?'
      : [
          'A private instance needs its own initial root. Otherwise something in between answers in the place of the repository.',
          { id: 'initial-root' },
        ]
  return new AirgapError('VERIFICATION_FAILED', `what ${mirror} gives does not verify: ${oneLine(message)}`, {
    hint,
  })
}
