import { redacted } from '../../redact.ts'
import { globalOptions } from '../input/global-flags.ts'

/** Ends the process for an error that nobody has caught, in the form of the log. It may be the log that failed. */
export function endWith(error: NodeJS.ErrnoException): never {
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
