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
 * Sees to it that one run at a time writes to an output. The lock is a name among Linux's abstract sockets (unix(7)),
 * which the kernel takes back when the process ends, however it ends: nothing stale can stay behind. It holds for all
 * processes of this user that share a network namespace; where it cannot be had, the run goes on without it.
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
  // Who connects wants nothing of us.
  const server = createServer((socket) => socket.destroy())
  server.unref()
  if (process.platform !== 'linux') return NO_LOCK
  try {
    server.listen({ path: name, exclusive: true })
    await once(server, 'listening')
  } catch (error) {
    if (systemCode(error) === 'EADDRINUSE') {
      throw new AirgapError('OUTPUT_BUSY', `another run is writing ${path} at this moment`, {
        hint: 'Let it finish, or end it first: what it has fetched then stays, and is gone on with.',
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
