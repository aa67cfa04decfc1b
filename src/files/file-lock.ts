import { constants } from 'node:fs'
import { open, unlink } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { AirgapError, fileError, systemCode } from '../errors.ts'
import { shellWord } from '../text.ts'

const SUFFIX = '.airgap-lock'
const PAUSE_MS = 20
const PATIENCE_MS = 15_000

/**
 * Runs `action` while no other process of ours runs one for the same file. The lock is a file beside it.
 * @throws AirgapError `FILE` when another has it for more than a quarter of a minute, `INTERRUPTED`.
 */
export async function withFileLock<T>(
  path: string,
  signal: AbortSignal | undefined,
  action: () => Promise<T>,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  const lock = `${path}${SUFFIX}`
  const until = performance.now() + patienceMs
  while (!(await create(lock))) {
    if (performance.now() > until) {
      throw new AirgapError('FILE', `cannot change ${path}: another run is changing it, and does not end`, {
        hint: `If none is running, one was killed and has left its lock behind. Remove it: rm ${shellWord(lock)}`,
      })
    }
    if (signal?.aborted) throw interrupted(path, signal)
    await sleep(PAUSE_MS)
  }
  try {
    return await action()
  } finally {
    await unlink(lock)
  }
}

async function create(lock: string): Promise<boolean> {
  try {
    const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants
    const handle = await open(lock, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
    await handle.close()
    return true
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false
    throw fileError(error, 'create', lock)
  }
}

function interrupted(path: string, signal: AbortSignal): AirgapError {
  if (signal.reason instanceof AirgapError) return signal.reason
  return new AirgapError('INTERRUPTED', `cannot change ${path}: it was interrupted`, { cause: signal.reason })
}
