import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'

/** A push at work: its process, told apart from all others on its host, whose numbers are used again, and which of its pushes. */
export interface Owner {
  host: string
  pid: number
  /** When it was started, in the kernel's ticks; empty where the system does not say. */
  started: string
  /** Random. */
  run: string
}

/** Whoever is on another host cannot be asked; if it were at work, it would have written something in this time. */
const SILENCE_MS = 10 * 60_000

/** The pushes of this process that have not ended. */
const running = new Set<string>()

/** A new owner, in this process. */
export function beginRun(): Owner {
  const run = randomBytes(8).toString('hex')
  running.add(run)
  return { host: hostname(), pid: process.pid, started: startOf(process.pid) ?? '', run }
}

export function endRun({ run }: Owner): void {
  running.delete(run)
}

/**
 * Whether a push may still be at work.
 * @param updated when it last wrote, in milliseconds since 1970.
 */
export function mayBeAlive(owner: Owner, updated: number, now: number = Date.now()): boolean {
  if (owner.host !== hostname()) return now - updated < SILENCE_MS
  if (owner.pid === process.pid) return running.has(owner.run)
  if (owner.started !== '') return startOf(owner.pid) === owner.started
  try {
    process.kill(owner.pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** The 22nd field of /proc/PID/stat (proc(5)); undefined where there is no such process, or no /proc. */
function startOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The second field is the program's name in parentheses, and may hold anything.
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}
