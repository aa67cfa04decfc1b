import { userInfo } from 'node:os'
import { TOOL } from '../version.ts'

const VERSION_FLAGS = new Set(['--version', '-V'])
const HELP_FLAGS = new Set(['--help', '-h'])

/**
 * Runs the command line. Sets the exit code, or ends the process.
 *
 * @param args without the program's own name.
 */
export async function main(args: readonly string[]): Promise<void> {
  process.on('uncaughtException', endWith)
  const [first] = args
  if (first !== undefined && VERSION_FLAGS.has(first)) {
    process.stdout.write(
      `${TOOL.name}/${TOOL.version} ${process.platform}-${process.arch} node-${process.version}\n`,
    )
    return
  }
  ensureUser()
  const [{ execute }, { ownPlugin }] = await Promise.all([import('@oclif/core'), import('./plugin.ts')])
  const plugin = ownPlugin()
  // `airgap help pack` is `airgap pack --help`, as many tools have it.
  const argv = first === 'help' ? [...args.slice(1), '--help'] : [...args]
  const isHelp = argv.some((arg) => HELP_FLAGS.has(arg))
  const [id] = argv
  const isCommand = plugin.commands.some((command) => command.id === id || command.aliases.includes(id ?? ''))
  if (id !== undefined && !isCommand && !(isHelp && id.startsWith('-'))) {
    const { commandNotFound } = await import('./command-not-found.ts')
    return commandNotFound(id, argv, plugin.commands)
  }
  const { root, pjson, name } = plugin
  await execute({ args: argv, loadOptions: { root, pjson, plugins: new Map([[name, plugin]]) } })
}

/**
 * In a bare root file system nobody is known: no HOME, no SHELL, and no list of users to ask instead. oclif asks all
 * the same, and would end in an error. What is said here is what container runtimes say then.
 */
function ensureUser(): void {
  try {
    userInfo()
  } catch {
    process.env['HOME'] ??= '/'
    process.env['SHELL'] ??= '/bin/sh'
  }
}

function endWith(error: NodeJS.ErrnoException): never {
  if (error.syscall === 'write') {
    process.stderr.write(`Error: cannot write to standard output or standard error: ${error.message}\n`)
    process.exit(7)
  }
  process.stderr.write(`${error.stack}\n`)
  process.exit(1)
}
