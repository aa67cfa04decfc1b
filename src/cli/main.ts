import { TOOL } from '../own-files.ts'
import { redacted } from '../text.ts'
import { keepCompiledCode } from './code-cache.ts'
import { globalOptions } from './input/global-flags.ts'
import { print } from './output/print.ts'

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
  const answers: Answers = { '--version': version, '-V': version, ...more }
  const [first] = args
  if (first !== undefined && Object.hasOwn(answers, first)) return print(answers[first]?.() ?? '')
  keepCompiledCode()
  const { run } = await import('./run.ts')
  await run(args)
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
