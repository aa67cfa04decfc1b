import { userInfo } from 'node:os'
import { setFlagsFromString } from 'node:v8'
import type { Interfaces } from '@oclif/core'
import { globalOptions, wantsJson } from './input/global-flags.ts'
import { ownPlugin } from './plugin.ts'

const HELP_FLAGS = new Set(['--help', '-h'])
/** By then a start is over. Milliseconds. */
const START_MS = 500

/** Runs a command, or shows help. Sets the exit code, or ends the process. */
export async function run(args: readonly string[]): Promise<void> {
  if (await isRefused(args)) return
  const plugin = ownPlugin()
  // `airgap help pack` is the same as `airgap pack --help`, as in many tools.
  const isHelp = args[0] === 'help' || isHelpAsked(args)
  const [id, ...argv] = args[0] === 'help' ? args.slice(1) : args
  if (id === undefined || isHelp) {
    const { showHelp } = await import('./manual/screens.ts')
    showHelp(args, plugin)
  } else if (plugin.commandIDs.includes(id)) {
    await runCommand(id, argv, plugin)
  } else {
    const { commandNotFound } = await import('./words/command-not-found.ts')
    process.exitCode = commandNotFound(id, args, plugin.commandIDs)
  }
}

/** Like oclif's `run`, without what that loads by path: the help class, and the hook for unknown commands. */
async function runCommand(id: string, argv: string[], plugin: Interfaces.Plugin): Promise<void> {
  ensureUser()
  // Loaded modules stay in memory: while they load, collecting a small young generation frees nothing.
  setTimeout(keepYoungGenerationSmall, START_MS).unref()
  const { Config, flush, handle } = await import('@oclif/core')
  const { root, pjson, name } = plugin
  const config = await Config.load({ root, pjson, plugins: new Map([[name, plugin]]) })
  try {
    await config.runCommand(id, argv)
    await flush()
  } catch (error) {
    await handle(error as Error)
  }
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

/**
 * Data from the network comes in short-lived buffers of 64 KiB. V8 frees them when it collects its young generation. By
 * default that grows, so the buffers pile up until their weight forces full collections. Keeping it at its initial size
 * makes packing take a third less processor time and a quarter less memory (docs/performance.md).
 */
function keepYoungGenerationSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1')
}
