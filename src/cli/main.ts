import { userInfo } from 'node:os'
import { setFlagsFromString } from 'node:v8'
import type { Config } from '@oclif/core'
import { TOOL } from '../own-files.ts'
import { redacted } from '../text.ts'
import { globalOptions } from './input/global-flags.ts'

const HELP_FLAGS = new Set(['--help', '-h'])

/** Answers to flags that stand alone, without a command. */
export type Answers = Record<string, () => string>

function version(): string {
  return `${TOOL.name}/${TOOL.version} ${process.platform}-${process.arch} node-${process.version}\n`
}

/**
 * Runs the command line. Sets the exit code, or ends the process.
 *
 * @param args without the name of the program.
 * @param more answers that only this build has.
 */
export async function main(args: readonly string[], more: Answers = {}): Promise<void> {
  process.on('uncaughtException', endWith)
  keepYoungGenerationSmall()
  const answers: Answers = { '--version': version, '-V': version, ...more }
  const [first] = args
  if (first !== undefined && Object.hasOwn(answers, first)) return print(answers[first]?.() ?? '')
  if (await isRefused(args)) return
  ensureUser()
  const [{ Config, flush, handle }, { ownPlugin }] = await Promise.all([
    import('@oclif/core'),
    import('./plugin.ts'),
  ])
  const plugin = ownPlugin()
  const { root, pjson, name } = plugin
  const config = await Config.load({ root, pjson, plugins: new Map([[name, plugin]]) })
  try {
    await run(args, config)
    await flush()
  } catch (error) {
    await handle(error as Error)
  }
}

/**
 * Data from the network comes in short-lived buffers of 64 KiB. V8 frees them when it collects its young generation. By
 * default that grows, so the buffers pile up until their weight forces full collections. Keeping it at its initial size
 * makes packing take a third less processor time and a quarter less memory (docs/performance.md).
 */
function keepYoungGenerationSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1')
}

/** Whether an argument, a variable or the folder's name is not UTF-8. If so, reports it and sets the exit code. */
async function isRefused(args: readonly string[]): Promise<boolean> {
  const folder = folderHere()
  // The usual case, which needs to load nothing more.
  if (![...args, folder, ...Object.values(process.env)].some((text) => text?.includes('\uFFFD'))) return false
  const { encodingFault } = await import('./words/usage-error.ts')
  const fault = encodingFault(args, process.env, folder)
  if (!fault) return false
  const { reportFailure } = await import('./words/report-error.ts')
  const { globalOptions, wantsJson } = await import('./input/global-flags.ts')
  const { log } = await import('./output/log.ts')
  log.configure(globalOptions(args))
  process.exitCode = reportFailure(fault, { json: wantsJson(args) })
  return true
}

/** The current folder; empty if it has been removed. */
function folderHere(): string {
  try {
    return process.cwd()
  } catch {
    return ''
  }
}

/** Like oclif's `run`, without what that loads by path: the help class, and the hook for unknown commands. */
async function run(args: readonly string[], config: Config): Promise<void> {
  // `airgap help pack` is the same as `airgap pack --help`, as in many tools.
  const isHelp = args[0] === 'help' || isHelpAsked(args)
  const [id, ...argv] = args[0] === 'help' ? args.slice(1) : args
  if (id === undefined || isHelp) {
    const { default: Help } = await import('./manual/screens.ts')
    await new Help(config).showHelp([...args])
  } else if (config.findCommand(id)) {
    await config.runCommand(id, argv)
  } else {
    const { commandNotFound } = await import('./words/command-not-found.ts')
    process.exitCode = commandNotFound(id, args, config)
  }
}

function isHelpAsked(args: readonly string[]): boolean {
  const end = args.indexOf('--')
  return args.slice(0, end < 0 ? undefined : end).some((arg) => HELP_FLAGS.has(arg))
}

/**
 * A bare root file system has no list of users. If HOME and SHELL are not set either, oclif would fail when it looks up
 * the user. These are the values that container runtimes use then.
 */
function ensureUser(): void {
  try {
    userInfo()
  } catch {
    const { HOME = '/', SHELL = '/bin/sh' } = process.env
    Object.assign(process.env, { HOME, SHELL })
  }
}

function print(text: string): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // The reader closed the pipe.
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
  process.stdout.write(text)
}

/** Ends the process after an uncaught error, in the log's format. Does not use the log, which may be what failed. */
function endWith(error: NodeJS.ErrnoException): never {
  if (error.syscall === 'write') {
    return die(7, 'FILE', `cannot write to standard output or standard error: ${error.message}`)
  }
  return die(1, 'INTERNAL', redacted(`unexpected fault: ${error.message}`), redacted(error.stack ?? ''))
}

function die(exitCode: number, code: string, message: string, stack?: string): never {
  const time = new Date().toISOString()
  const line = { time, level: 'error', event: 'error', message, code, exitCode, stack }
  const isJson = globalOptions(process.argv.slice(2)).logFormat === 'json'
  process.stderr.write(`${isJson ? JSON.stringify(line) : (stack ?? `Error: ${message}`)}\n`)
  process.exit(exitCode)
}
