import { createHash, randomBytes } from 'node:crypto'
import { messageOf } from '../../../../errors.ts'
import type { Digest } from '../../../../oci/digest.ts'
import type { OnNotice } from '../../../notices.ts'
import { formatState, MAX_AGE_MS, parseState, StateFolder, type UploadRecord } from './folder.ts'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import type { UploadMemory } from '../../../../content/source.ts'

/**
 * A running push: its host, its process, and which of the process's pushes. The start time tells processes apart whose
 * number is the same.
 */
interface Owner {
  host: string
  pid: number
  /** When the process was started, in the kernel's ticks; empty where the system does not say. */
  started: string
  /** Random. */
  run: string
}

/**
 * A process on another host cannot be checked. If it were running, it would have written something within this time.
 */
const SILENCE_MS = 10 * 60_000

/** The pushes of this process that have not ended. */
const running = new Set<string>()

/** A new owner, in this process. */
function beginRun(): Owner {
  const run = randomBytes(8).toString('hex')
  running.add(run)
  return { host: hostname(), pid: process.pid, started: startOf(process.pid) ?? '', run }
}

function endRun({ run }: Owner): void {
  running.delete(run)
}

/**
 * Whether a push may still be running.
 * @param updated when it last wrote, in milliseconds since 1970.
 */
function mayBeAlive(owner: Owner, updated: number, now: number = Date.now()): boolean {
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

export interface UploadStateOptions {
  folder: string
  bundleDigest: Digest
  /** The registry's current origin: the only one that a saved Location may have. */
  origin: string
  onNotice: OnNotice
}

/**
 * The unfinished uploads of one push, in a file, so that the same push can resume them after it was killed. The push
 * does not depend on it: whatever is wrong with the file, the push continues without it.
 */
export class UploadState {
  readonly #options: UploadStateOptions
  readonly #folder: StateFolder
  readonly #name: string
  readonly #owner = beginRun()
  /** What earlier runs left, until it is used. */
  readonly #left = new Map<string, UploadRecord>()
  readonly #own = new Map<string, UploadRecord>()
  #wasWritten = false
  #isBroken = false
  #writing: Promise<void> = Promise.resolve()
  #waiting: Promise<void> | undefined

  private constructor(options: UploadStateOptions) {
    this.#options = options
    this.#folder = new StateFolder(options.folder)
    const key = JSON.stringify([options.bundleDigest, options.origin])
    this.#name = `${createHash('sha256').update(key).digest('hex')}.json`
  }

  /** Takes over what earlier runs of the same push left, unless they are still running. Never fails. */
  static async open(options: UploadStateOptions): Promise<UploadState> {
    const state = new UploadState(options)
    await state.#attempt(async () => {
      const records = state.#parsed(await state.#folder.take(state.#name))
      const others = records.filter((record) => state.#isInUse(record))
      for (const record of records) {
        if (!others.includes(record)) state.#left.set(keyOf(record), { ...record, owner: state.#owner })
      }
      if (records.length > 0) await state.#write(others)
    })
    return state
  }

  /** The memory of one blob's upload. */
  of(repository: string, digest: Digest): UploadMemory {
    const key = keyOf({ repository, digest })
    return {
      recall: () => {
        const record = this.#left.get(key)
        if (!record) return undefined
        return { mode: record.mode, location: this.#onOrigin(record.location) }
      },
      note: ({ mode, location, acknowledged }) => {
        const now = new Date().toISOString()
        const started = this.#own.get(key)?.started ?? this.#left.get(key)?.started ?? now
        this.#left.delete(key)
        const isOwn = this.#onOrigin(location.href) !== undefined
        this.#own.set(key, {
          repository,
          digest,
          mode,
          ...(isOwn ? { location: location.href } : {}),
          acknowledged,
          started,
          updated: now,
          owner: this.#owner,
        })
        return this.#save()
      },
      forget: () => {
        const wasThere = this.#own.delete(key)
        if (this.#left.delete(key) || wasThere) void this.#save()
      },
    }
  }

  /**
   * Ends the run. After a complete push, nothing is kept. Never fails.
   */
  async close(isComplete: boolean): Promise<void> {
    if (isComplete) {
      this.#left.clear()
      this.#own.clear()
    }
    if (this.#wasWritten) await this.#save()
    await this.#waiting
    await this.#writing
    endRun(this.#owner)
  }

  /** Settled when everything so far is written. Calls during a write share the next one. */
  #save(): Promise<void> {
    this.#waiting ??= this.#writing.then(() => {
      this.#waiting = undefined
      this.#writing = this.#attempt(async () => {
        const there = this.#parsed(await this.#folder.read(this.#name))
        await this.#write(there.filter((record) => this.#isInUse(record)))
      })
      return this.#writing
    })
    return this.#waiting
  }

  /** @param others the uploads of other running pushes. */
  async #write(others: readonly UploadRecord[]): Promise<void> {
    const records = [...others, ...this.#left.values(), ...this.#own.values()]
    if (records.length === 0) await this.#folder.remove(this.#name)
    else await this.#folder.write(this.#name, formatState(records))
    this.#wasWritten = true
  }

  #isInUse({ owner, updated }: UploadRecord): boolean {
    return owner.run !== this.#owner.run && mayBeAlive(owner, Date.parse(updated))
  }

  #parsed(content: Buffer | 'damaged' | undefined): UploadRecord[] {
    if (content === undefined) return []
    const records = content === 'damaged' ? undefined : parseState(content)
    if (!records) {
      this.#warn(
        `${this.#folder.file(this.#name)}, the record of unfinished uploads, is damaged and was ignored`,
      )
      return []
    }
    return records.filter(({ updated }) => Math.abs(Date.now() - Date.parse(updated)) < MAX_AGE_MS)
  }

  /** Credentials only go to the registry's origin, and a file must not decide where that is. */
  #onOrigin(location: string | undefined): URL | undefined {
    const url = location === undefined ? undefined : URL.parse(location)
    return url?.origin === this.#options.origin && url.username === '' && url.password === ''
      ? url
      : undefined
  }

  async #attempt(work: () => Promise<void>): Promise<void> {
    if (this.#isBroken) return
    try {
      await work()
    } catch (error) {
      this.#isBroken = true
      this.#warn(
        `unfinished uploads cannot be remembered, so after an interruption they start again:  ${messageOf(error)}`,
      )
    }
  }

  #warn(message: string): void {
    this.#options.onNotice({ type: 'warning', message })
  }
}

function keyOf({ repository, digest }: { repository: string; digest: string }): string {
  return `${repository}@${digest}`
}
