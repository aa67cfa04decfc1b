import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { watchRun } from '../../support/secrets/of-run.ts'
import { attempt, ended, start, type Ended, type RunOptions } from './processes.ts'

/** Of all signing keys that are made here: such that it is noticed where it shows. */
export const KEY_PASSWORD = 'corr3ct-horse'

export const RUN_JS = join(import.meta.dirname, '../../../bin/run.js')

/** The command line as a user runs it, in a process of its own, without anything of this machine's user. */
export class Airgap {
  readonly #folder: string
  readonly #env: NodeJS.ProcessEnv

  /** @param folder where it runs, and where its home folder and credentials are. */
  constructor(folder: string, env: NodeJS.ProcessEnv = {}) {
    this.#folder = folder
    this.#env = { PATH: process.env['PATH'], HOME: folder, AIRGAP_PASSWORD: KEY_PASSWORD, ...env }
  }

  get options(): RunOptions {
    return { cwd: this.#folder, env: this.#env }
  }

  /** Runs to the end, whatever that is. */
  attempt(...args: string[]): Promise<Ended> {
    return this.#watched(args, () => attempt(process.execPath, [RUN_JS, ...args], this.options))
  }

  /** Runs without any network, loopback included. */
  attemptOffline(...args: string[]): Promise<Ended> {
    return this.#watched(args, () =>
      attempt('unshare', ['-n', process.execPath, RUN_JS, ...args], this.options),
    )
  }

  /** Has to succeed; gives standard output. */
  async run(...args: string[]): Promise<string> {
    const result = await this.attempt(...args)
    if (result.code !== 0) throw new Error(`airgap ${args.join(' ')}\n${describeEnd(result)}`)
    return result.stdout
  }

  /** Has to succeed; gives the document that `--json` prints. */
  async json<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.run(...args, '--json')) as T
  }

  /** Only starts it. */
  start(...args: string[]): { child: ChildProcess; ended: Promise<Ended> } {
    const child = start(process.execPath, [RUN_JS, ...args], this.options)
    return { child, ended: this.#watched(args, () => ended(child)) }
  }

  /** Fails where what a run prints or writes shows a secret. */
  async #watched(args: readonly string[], run: () => Promise<Ended>): Promise<Ended> {
    const watch = watchRun({ args, cwd: this.#folder, env: this.#env })
    const result = await run()
    watch.check(result)
    return result
  }
}

export function describeEnd({ code, signal, stdout, stderr }: Ended): string {
  return `ended with ${code ?? signal}\n${stdout}${stderr}`
}

/** What the suite reads of a lock, and of the evidence and receipts that speak of the same images. */
export interface LockedImage {
  source: string
  digest: string
  sourceDigest: string
  mediaType: string
  kind: 'image' | 'artifact'
}

/** What the suite reads of a receipt. */
export interface PushReceipt {
  images: { source: string; target: string; digest: string; tag: { name: string; state: string } }[]
  totals: Record<'uploaded' | 'mounted' | 'present', { count: number; bytes: number }>
}
