import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { measure, median, type Measured } from './measure.ts'

/** One way to do a task: a shell script that runs in an empty folder, `$OUT`. */
export interface Contender {
  name: string
  /** @param out an empty folder; what is made there goes away after the run. */
  script: (out: string) => string
  /** Runs before each run, without being measured. */
  prepare?: (out: string) => Promise<void>
  /** Runs after each run, without being measured. */
  after?: () => Promise<void>
}

export interface Result {
  name: string
  seconds: number
  /** Of the first contender. */
  ratio: number
  peakMemory: number
  written: number
}

/**
 * Runs contenders in turn, so that what disturbs one round disturbs all of them alike, and gives medians.
 * @param rounds runs of each; before them one that does not count fills caches.
 */
export async function race(
  contenders: readonly Contender[],
  options: { rounds: number; folder: string; say: (text: string) => void },
): Promise<Result[]> {
  const results = new Map<string, Measured[]>(contenders.map(({ name }) => [name, []]))
  for (let round = 0; round <= options.rounds; round++) {
    for (const contender of contenders) {
      const out = join(options.folder, 'out')
      await mkdir(out, { recursive: true })
      await contender.prepare?.(out)
      options.say(`${contender.name}, ${round === 0 ? 'warming up' : `round ${round} of ${options.rounds}`}`)
      // What one leaves to be written must not be paid by the next.
      await measure('sync')
      const measured = await measure(contender.script(out), { cwd: out, env: environment(options.folder) })
      if (round > 0) results.get(contender.name)?.push(measured)
      await contender.after?.()
      await rm(out, { recursive: true })
    }
  }
  const ours = median((results.get(contenders[0]?.name ?? '') ?? []).map(({ seconds }) => seconds))
  return contenders.map(({ name }) => {
    const all = results.get(name) ?? []
    const seconds = median(all.map((one) => one.seconds))
    return {
      name,
      seconds,
      ratio: ours / seconds,
      peakMemory: Math.max(...all.map((one) => one.peakMemory)),
      written: median(all.map((one) => one.written)),
    }
  })
}

/** Nothing of this machine's user; temporary files go where they are seen. */
export function environment(folder: string): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], HOME: folder, TMPDIR: join(folder, 'tmp'), CI: 'true' }
}

/** What lies in a folder after a run that should have left nothing there. */
export async function leftIn(folder: string): Promise<string[]> {
  return readdir(folder)
}
