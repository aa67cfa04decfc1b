import { userInfo } from 'node:os'
import { TOOL } from '../version.ts'

const HELP_FLAGS = new Set(['--help', '-h'])

/** Questions that need no command: by their flag, what is answered. */
export type Answers = Record<string, () => string>

function version(): string {
  return `${TOOL.name}/${TOOL.version} ${process.platform}-${process.arch} node-${process.version}\n`
}

/**
 * Runs the command line. Sets the exit code, or ends the process.
 *
 * @param args without the program's own name.
 * @param more what this way of running it can answer besides.
 */
export async function main(args: readonly string[], more: Answers = {}): Promise<void> {
  process.on('uncaughtException', endWith)
  const answers: Answers = { '--version': version, '-V': version, ...more }
  const [first] = args
  if (first !== undefined && Object.hasOwn(answers, first)) return print(answers[first]?.() ?? '')
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

function print(text: string): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // Whoever reads has had enough.
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
  process.stdout.write(text)
}

function endWith(error: NodeJS.ErrnoException): never {
  if (error.syscall === 'write') {
    process.stderr.write(`Error: cannot write to standard output or standard error: ${error.message}\n`)
    process.exit(7)
  }
  process.stderr.write(`${error.stack}\n`)
  process.exit(1)
}
