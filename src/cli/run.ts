import { userInfo } from 'node:os'
import { setFlagsFromString } from 'node:v8'
import type { Interfaces } from '@oclif/core'
import { globalOptions, wantsJson } from './input/global-flags.ts'
import { ownPlugin } from './plugin.ts'

const HELP_FLAGS = new Set(['--help', '-h'])
/** A start is over by then. */
const START_MS = 500

/** Runs a command, or shows help. Sets the exit code, or ends the process. */
export async function run(args: readonly string[]): Promise<void> {
  if (await isRefused(args)) return
  const plugin = ownPlugin()
  // `airgap help pack` is `airgap pack --help`, as many tools have it.
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

/** oclif's own `run`, without what it loads by path: the help class, and the hook for an unknown command. */
async function runCommand(id: string, argv: string[], plugin: Interfaces.Plugin): Promise<void> {
  ensureUser()
  // Modules are what stays: while they load, a small young generation is collected all the time, and for nothing.
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

/** Whether something about the command line is not UTF-8, which has been told then. */
async function isRefused(args: readonly string[]): Promise<boolean> {
  const folder = folderHere()
  // Most starts need nothing more.
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

/** One that has been removed has no name any more. */
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
 * In a bare root file system nobody is known: no HOME, no SHELL, and no list of users to ask instead. oclif asks all
 * the same, and would end in an error. What is said here is what container runtimes say then.
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
 * What is read from the network is in buffers of 64 KiB that are of no use a moment later. V8 frees them when its young
 * generation is full of small objects; left alone it lets that grow, so that such buffers pile up until whole
 * collections are forced by their weight. Kept at its first size, it takes a third less of the processor's time and a
 * quarter less memory to pack (docs/performance.md).
 */
function keepYoungGenerationSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1')
}
