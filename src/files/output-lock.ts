import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { basename, dirname } from 'node:path'
import { AirgapError, fileError, systemCode } from '../errors.ts'

export interface OutputLock {
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
