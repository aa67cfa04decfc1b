import { fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { expect } from 'vitest'
import { watchRun } from './secrets/of-run.ts'
import type { Answer, Order } from './resident.ts'

const RUN = join(import.meta.dirname, '../../bin/run.js')
const RESIDENT = join(import.meta.dirname, 'resident.ts')
/** Hundreds of processes load the same code. */
export const CACHE = join(import.meta.dirname, '../../node_modules/.cache/airgap-tests')

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

export interface ResidentOptions extends RunOptions {
  /** Variables that the process has from its beginning on, for what is looked at once. */
  begun?: Record<string, string>
  /** Path of a module that is run instead of the command. */
  program?: string
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
  return outcomeOf(watch, code, stdout, stderr)
}

function outcomeOf(
  watch: ReturnType<typeof watchRun>,
  code: number | null,
  stdout: Buffer,
  stderr: Buffer,
): Outcome {
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

/** By what they have begun with. */
const residents = new Map<string, ChildProcess>()
let last: Promise<unknown> = Promise.resolve()

/** Like {@link airgap}, one command after the other in one process (resident.ts): for what is no matter of processes. */
export async function residentAirgap(
  args: readonly string[],
  options: ResidentOptions = {},
): Promise<Outcome> {
  const outcome = last.then(() => order(args, options))
  last = outcome.catch(() => {})
  return outcome
}

async function order(
  args: readonly string[],
  { begun = {}, program, cwd, stdin, env: more }: ResidentOptions,
): Promise<Outcome> {
  const name = JSON.stringify(begun)
  const child = residents.get(name) ?? startResident(begun)
  residents.set(name, child)
  const env = { PATH: process.env.PATH, HOME: '/nonexistent', ...begun, ...more }
  const watch = watchRun({ args, cwd, env, stdin })
  child.send({ program, args, cwd, env, stdin: stdin ?? '' } satisfies Order)
  const { code, isLast, stdout, stderr } = await new Promise<Answer>((resolve, reject) => {
    child.once('message', resolve)
    child.once('exit', (status) => reject(new Error(`the process of ${args.join(' ')} ended with ${status}`)))
  })
  child.removeAllListeners('exit')
  const forget = (): void => {
    if (residents.get(name) === child) residents.delete(name)
  }
  if (isLast) forget()
  else child.once('exit', forget)
  return outcomeOf(watch, code, Buffer.from(stdout), Buffer.from(stderr))
}

/** It ends with the process that runs the test file. */
function startResident(begun: Record<string, string>): ChildProcess {
  const child = fork(RESIDENT, [], {
    env: { PATH: process.env.PATH, HOME: '/nonexistent', NODE_COMPILE_CACHE: CACHE, ...begun },
    execArgv: [],
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  child.unref()
  child.channel?.unref()
  return child
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

/** Commands that run in one folder, with the same variables, one after the other in one process. */
export function session(cwd: string, common: Record<string, string> = {}): Session {
  const run: Session['run'] = (args, env = {}) => residentAirgap(args, { cwd, env: { ...common, ...env } })
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
