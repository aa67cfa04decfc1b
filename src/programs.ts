import { spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { delimiter, isAbsolute, join } from 'node:path'

/**
 * Finds a program by name, only in the absolute entries of PATH: a relative entry would find whatever is in the current
 * folder.
 */
export async function findProgram(file: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const names = process.platform === 'win32' ? [`${file}.exe`] : [file]
  for (const folder of (env['PATH'] ?? env['Path'] ?? '').split(delimiter)) {
    if (!isAbsolute(folder)) continue
    for (const name of names) {
      const path = join(folder, name)
      if (await isProgram(path)) return path
    }
  }
  return undefined
}

/** Whether `path` is an executable file. */
export async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK)
    return (await stat(path)).isFile()
  } catch {
    return false
  }
}

export interface ProgramRun {
  /** Written to its standard input, which then ends. */
  input: string | Uint8Array
  /** The environment. Secret variables (`AIRGAP_…`, `COSIGN_…`) are not passed on. */
  env: NodeJS.ProcessEnv
  timeoutMs: number
  /** Maximum size of standard output, in bytes. */
  maxOutput: number
  /** How many of the last bytes of standard error to keep; if not given, standard error is ignored. */
  maxErrors?: number
  /** Kills the program. */
  signal?: AbortSignal | undefined
}

export type ProgramEnd =
  | {
      ok: true
      /** The exit status; null if a signal ended it. */
      status: number | null
      signal: NodeJS.Signals | null
      stdout: Buffer
      stderr: Buffer
    }
  /** It did not end by itself. `reason` is a clause about the program: "did not answer within 30 s". */
  | { ok: false; reason: string; stderr: Buffer }

/**
 * Runs a program to its end, without a shell and without our secrets in its environment. Kills it when a limit is
 * exceeded, or when the signal aborts.
 */
export function runProgram(
  program: string,
  args: readonly string[],
  { input, env, timeoutMs, maxOutput, maxErrors = 0, signal }: ProgramRun,
): Promise<ProgramEnd> {
  const passedOn = Object.entries(env).filter(
    ([key]) => !/^(?:AIRGAP|COSIGN|SIGSTORE|ACTIONS_ID_TOKEN)_/i.test(key),
  )
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      shell: false,
      env: Object.fromEntries(passedOn),
      stdio: ['pipe', 'pipe', maxErrors > 0 ? 'pipe' : 'ignore'],
      windowsHide: true,
    })
    const chunks: Buffer[] = []
    let length = 0
    let stderr = Buffer.alloc(0)
    const end = (result: ProgramEnd): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', interrupt)
      resolve(result)
    }
    const giveUp = (reason: string): void => {
      child.kill('SIGKILL')
      // Children of the program may survive and keep these open.
      child.stdin?.destroy()
      child.stdout?.destroy()
      child.stderr?.destroy()
      end({ ok: false, reason, stderr })
    }
    const interrupt = (): void => giveUp('was interrupted')
    signal?.addEventListener('abort', interrupt, { once: true })
    const timer = setTimeout(() => giveUp(`did not answer within ${timeoutMs / 1000} s`), timeoutMs)
    child.stdout?.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (length > maxOutput) giveUp(`answered with more than ${maxOutput} bytes`)
      else chunks.push(chunk)
    })
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr = Buffer.concat([stderr, chunk]).subarray(-maxErrors)
    })
    child.on('error', (error) => end({ ok: false, reason: `could not be run: ${error.message}`, stderr }))
    child.on('close', (status, ended) => {
      end({ ok: true, status, signal: ended, stdout: Buffer.concat(chunks), stderr })
    })
    // A program may end without reading its input; only its output matters.
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
    if (signal?.aborted) interrupt()
  })
}
