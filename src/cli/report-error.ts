import { AirgapError, messageOf } from '../errors.ts'
import { jsonText } from './format.ts'
import { log } from './log.ts'
import type { ErrorDocument } from './shapes/error.ts'

/** Anything thrown, as the error that the user gets. */
export function classify(error: unknown): AirgapError {
  if (error instanceof AirgapError) return error
  if (isOclifError(error)) {
    // The parser's advice on flags with several values does not hold here: they take one at a time.
    const message = messageOf(error)
      .replace(/\n\nNote: [^]*$/, '')
      .replace(/\nSee more help with --help\s*$/, '')
      .replace(/^The following errors? occurred:\s*/, '')
      .replace(/Missing required flag (\w)/, 'Missing required flag --$1')
      .replaceAll(/=true\b/g, '')
      .replaceAll(/\s*\n\s*/g, '; ')
    return new AirgapError('USAGE', message, { hint: 'See --help.' })
  }
  return new AirgapError('INTERNAL', `unexpected fault: ${messageOf(error)}`, {
    hint: 'This is a mistake in airgap itself. Please report it with the command line and the lines below.',
    cause: error,
  })
}

/** A fault that oclif's parser found in the command line. */
function isOclifError(error: unknown): boolean {
  return error instanceof Error && 'oclif' in error
}

/**
 * Tells why a command failed: with `--json` as the one document on standard output; on standard error otherwise,
 * and there as a line of the log in any case, so that a log kept apart has its end.
 * @returns the exit code.
 */
export function reportFailure(error: AirgapError, { json }: { json: boolean }): number {
  if (json) process.stdout.write(jsonText(errorDocument(error)))
  if (!json || log.format === 'json') log.error(error)
  return error.exitCode
}

function errorDocument(error: AirgapError): ErrorDocument {
  return {
    error: {
      code: error.code,
      message: error.message,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      ...(error.problems.length === 0 ? {} : { problems: error.problems }),
    },
  }
}
