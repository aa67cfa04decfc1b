import { constants } from 'node:fs'
import { open, stat, unlink } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { AirgapError, fileError, systemCode } from '../errors.ts'
import { shellWord } from '../text.ts'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { basename, dirname } from 'node:path'

interface OutputLock {
  release(): Promise<void>
}

/**
 * Makes sure that only one run at a time writes to an output. The lock is the name of an abstract Unix socket (unix(7)).
 * The kernel frees it when the process ends, however it ends, so no stale lock can remain. It works between processes
 * of this user in the same network namespace. If the lock is not available, the run continues without it.
 *
 * @param path absolute.
 * @throws AirgapError `OUTPUT_BUSY`, `FILE`
 */
export async function lockOutput(path: string): Promise<OutputLock> {
  const folder = await stat(dirname(path), { bigint: true }).catch((error: unknown) => {
    throw fileError(error, 'write', path)
  })
  const key = [process.getuid?.(), folder.dev, folder.ino, basename(path)].join(':')
  const name = `\0airgap-${createHash('sha256').update(key).digest('hex').slice(0, 40)}`
  // The socket only holds the name; nobody has a reason to connect.
  const server = createServer((socket) => socket.destroy())
  server.unref()
  if (process.platform !== 'linux') return NO_LOCK
  try {
    server.listen({ path: name, exclusive: true })
    await once(server, 'listening')
  } catch (error) {
    if (systemCode(error) === 'EADDRINUSE') {
      throw new AirgapError('OUTPUT_BUSY', `another run is writing ${path} right now`, {
        hint: 'Let it finish, or stop it first: what it has fetched is kept, and the next run resumes from it.',
      })
    }
    return NO_LOCK
  }
  return {
    async release() {
      server.close()
      await once(server, 'close')
    },
  }
}

const NO_LOCK: OutputLock = { release: async () => {} }

const SUFFIX = '.airgap-lock'
const PAUSE_MS = 20
const PATIENCE_MS = 15_000

/**
 * Runs `action` while no other airgap process runs one for the same file. The lock is a file beside it.
 * @param patienceMs how long to wait for the lock, in milliseconds.
 * @throws AirgapError `FILE` if another process holds the lock for longer, `INTERRUPTED`.
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
      throw new AirgapError('FILE', `cannot change ${path}: another run keeps it locked`, {
        hint: `If no other run is active, one was killed and left its lock behind. Remove it: rm ${shellWord(lock)}`,
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
