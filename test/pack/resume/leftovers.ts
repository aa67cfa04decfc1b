import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import { expect, vi } from 'vitest'

/**
 * Takes away what an interrupted pack has left to go on with: both files, or none.
 * @returns whether there was anything.
 */
export function takeUnfinished(output: string): boolean {
  const left = [`${output}.partial`, `${output}.partial.journal`].filter((path) => existsSync(path))
  expect([0, 2]).toContain(left.length)
  for (const path of left) rmSync(path)
  return left.length > 0
}

/** Sees what a run leaves behind. */
export interface Watch {
  /** Expects that the files are what they were, and that nothing is open or at work any more. */
  expectNothingLeft(): Promise<void>
}

/** Notes what there is now: the folder's files and the servers of this process, which has no open connections. */
export function watch(folder: string): Watch {
  const files = filesIn(folder)
  const servers = countOf(/^TCPServerWrap$/)
  const workers: Worker[] = []
  const onWorker = (worker: Worker): void => void workers.push(worker)
  process.on('worker', onWorker)
  return {
    async expectNothingLeft() {
      process.off('worker', onWorker)
      // What is closed by us is closed when the run is over.
      expect(filesIn(folder)).toEqual(files)
      expect(descriptorsInto(folder)).toEqual([])
      expect(workers.filter(({ threadId }) => threadId !== -1)).toEqual([])
      // The other ends of its connections are in this process, too, and hear of it a moment later.
      await vi.waitFor(
        () => {
          expect(countOf(/^(?:TCPSocket|TLS|Process|GetAddrInfo)/)).toBe(0)
          expect(countOf(/^TCPServerWrap$/)).toBeLessThanOrEqual(servers)
        },
        { timeout: 60_000, interval: 5 },
      )
    },
  }
}

/** Names of the files, and for small ones their content. */
function filesIn(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => {
        const path = join(entry.parentPath, entry.name)
        return [path, path.endsWith('.tar') ? 'a bundle' : readFileSync(path, 'latin1')]
      }),
  )
}

function descriptorsInto(folder: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`)
      return path.startsWith(folder) ? [path] : []
    } catch {
      // The descriptor that the listing itself had.
      return []
    }
  })
}

/** How many things of a kind keep this process busy: sockets, servers, child processes. */
function countOf(kind: RegExp): number {
  return process.getActiveResourcesInfo().filter((name) => kind.test(name)).length
}
