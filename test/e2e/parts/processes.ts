import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/** How a command ended. `code` is null when a signal ended it. */
export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface RunOptions {
  cwd?: string
  env?: NodeJS.ProcessEnv
  /** Written to standard input, which is empty otherwise. */
  input?: string | Uint8Array
  /** Standard input stays open, for who writes to it later. */
  keepInput?: boolean
}

const running = new Set<ChildProcess>()

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/**
 * Starts a process that cannot outlive this one: the kernel kills it when its parent is gone, so that not even a
 * killed test run leaves servers behind.
 */
export function start(command: string, args: readonly string[], options: RunOptions = {}): ChildProcess {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', command, ...args], {
    cwd: options.cwd,
    env: options.env ?? process.env,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  running.add(child)
  child.once('close', () => running.delete(child))
  // A command that does not read its input may have closed it.
  child.stdin?.on('error', () => {})
  if (!options.keepInput) child.stdin?.end(options.input)
  return child
}

/** Waits for a started process, and gives what it has printed. */
export async function ended(child: ChildProcess): Promise<Ended> {
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk))
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  return { code, signal, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() }
}

/** Runs a command to its end, however it ends. */
export async function attempt(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ended> {
  return ended(start(command, args, options))
}

/** Runs a command that has to succeed, and gives its standard output. */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const { code, signal, stdout, stderr } = await attempt(command, args, options)
  if (code === 0) return stdout
  throw new Error(`${command} ${args.join(' ')}\nended with ${code ?? signal}\n${stdout}${stderr}`)
}

/** A server, and all that it has printed so far. */
export interface Server extends AsyncDisposable {
  output: () => string
}

/**
 * Starts a server and waits until `isReady` gives something.
 * @param isReady is asked again after every output and every 50 ms.
 */
export async function startServer<T>(
  command: string,
  args: readonly string[],
  isReady: (output: string) => Promise<T | undefined> | T | undefined,
  options: RunOptions = {},
): Promise<Server & { ready: T }> {
  const child = start(command, args, options)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
  }
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const closed = once(child, 'close')
    child.kill('SIGTERM')
    const overdue = setTimeout(() => child.kill('SIGKILL'), 10_000)
    await closed
    clearTimeout(overdue)
  }
  try {
    const ready = await poll(`${command} to be ready`, async () => {
      if (child.exitCode !== null) throw new Error(`${command} has ended with ${child.exitCode}\n${output}`)
      return isReady(output)
    })
    return { ready, output: () => output, [Symbol.asyncDispose]: stop }
  } catch (error) {
    await stop()
    throw new Error(`${command} did not become ready\n${output}`, { cause: error })
  }
}

const PATIENCE = 60_000

/** Asks until there is an answer; a minute without one is a failure. */
export async function poll<T>(what: string, ask: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const deadline = Date.now() + PATIENCE
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
