import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { expect } from 'vitest'
import { watchRun } from '../secrets/of-run.ts'

const RUN = join(import.meta.dirname, '../../bin/run.js')
/** Hundreds of processes load the same code. */
const CACHE = join(import.meta.dirname, '../../node_modules/.cache/airgap-tests')

export interface Outcome {
  code: number | null
  stdout: string
  stdoutBytes: Buffer
  stderr: string
  /** Standard output as JSON. */
  json<T = Record<string, unknown>>(): T
}

export interface RunOptions {
  cwd?: string
  env?: Record<string, string>
  stdin?: string
}

/**
 * Runs the built command as a user would, with nothing of this machine's credentials in its environment. Fails where
 * what it prints or writes shows a secret.
 */
export async function airgap(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const env = { PATH: process.env.PATH, HOME: '/nonexistent', NODE_COMPILE_CACHE: CACHE, ...options.env }
  const watch = watchRun({ args, cwd: options.cwd, env, stdin: options.stdin })
  const child = spawn(process.execPath, [RUN, ...args], {
    cwd: options.cwd,
    env,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  child.stdin.on('error', () => {})
  child.stdin.end(options.stdin ?? '')
  const [stdout, stderr, [code]] = await Promise.all([
    buffer(child.stdout),
    buffer(child.stderr),
    once(child, 'close') as Promise<[number | null]>,
  ])
  const text = stdout.toString()
  watch.check({ stdout: text, stderr: stderr.toString() })
  return {
    code,
    stdout: text,
    stdoutBytes: stdout,
    stderr: stderr.toString(),
    json: <T>() => JSON.parse(text) as T,
  }
}

/** A folder that goes away with the test. */
export async function scratch(): Promise<AsyncDisposable & { path: string; file(name: string): string }> {
  const path = await mkdtemp(join(tmpdir(), 'airgap-test-'))
  return {
    path,
    file: (name) => join(path, name),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  }
}

export interface Session {
  run(args: readonly string[], env?: Record<string, string>): Promise<Outcome>
  /** Runs a command that has to succeed. */
  good(args: readonly string[], env?: Record<string, string>): Promise<Outcome>
}

/** Commands that run in one folder, with the same variables. */
export function session(cwd: string, common: Record<string, string> = {}): Session {
  const run: Session['run'] = (args, env = {}) => airgap(args, { cwd, env: { ...common, ...env } })
  return {
    run,
    good: async (args, env) => {
      const outcome = await run(args, env)
      expect(outcome.stderr).not.toContain('Error')
      expect(outcome.code).toBe(0)
      return outcome
    },
  }
}
