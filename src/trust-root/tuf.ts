import { AirgapError, type ErrorCode } from '../errors.ts'
import { oneLine } from '../registry/faults/quote.ts'
import { startThread } from '../threads.ts'
import type { Run } from '../content/run.ts'
import type { TransferEvent } from '../content/events.ts'
import type { NetworkOptions, RegistryAccess } from '../registry/options.ts'
import type { Hint, Hints } from '../hints.ts'

/** The task of the thread that fetches from a TUF repository. */
export interface TufTask {
  mirror: string
  target: string
  /** The initial root. */
  root: Uint8Array
  /** The task's own folder, for metadata and targets. */
  folder: string
  network: Pick<NetworkOptions, 'retries' | 'timeout'> & { registries: Omit<RegistryAccess, 'credentials'> }
}

export type TufReply =
  | { type: 'event'; event: TransferEvent }
  | { type: 'done' }
  /** A failed request, or another error of ours. */
  | { type: 'failed'; code: ErrorCode; message: string; hints: readonly Hint[] }
  /** The content does not verify. */
  | { type: 'unverified'; name: string; message: string }

/** File for the initial root. */
export const INITIAL_ROOT = 'initial-root.json'
/** The client's folder, in which it creates one for the mirror. */
export const CACHE = 'cache'

/** The target's name in Sigstore's repositories. */
export const TARGET = 'trusted_root.json'

/** Memory limit in MiB. A repository has a few hundred KiB; a malicious one must not use up the memory. */
const MEMORY_MB = 256

/**
 * Fetches a target into the task's folder, in a worker thread.
 * @throws AirgapError `VERIFICATION_FAILED`, those of requests; the signal's reason.
 */
export async function fetchTarget(task: TufTask, { signal, onEvent }: Run): Promise<void> {
  signal.throwIfAborted()
  // The library's temporary files must be in that folder too.
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
        thread.on('exit', () => reject(new AirgapError('INTERNAL', 'the thread of the TUF client ended')))
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
      ? 'The repository was not renewed, or a cache on the way has an old copy. Is this machine’s clock right?'
      : [
          'A private instance needs its own initial root. If it is the public one, something on the way answers instead of the repository.',
          { id: 'initial-root' },
        ]
  return new AirgapError(
    'VERIFICATION_FAILED',
    `the content of ${mirror} does not verify: ${oneLine(message)}`,
    {
      hint,
    },
  )
}
