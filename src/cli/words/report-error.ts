import { AirgapError, messageOf } from '../../errors.ts'
import { jsonText } from '../output/format.ts'
import { log } from '../output/log.ts'
import type { ErrorDocument } from '../output/shapes/error.ts'
import { hintOf, worded } from './hints.ts'
import { isParserError, usageError } from './usage-error.ts'

/**
 * Turns anything thrown into the error that the user sees.
 * @param command the command that ran, if known.
 */
export function classify(error: unknown, command?: string): AirgapError {
  if (error instanceof AirgapError) return error
  if (isParserError(error)) return usageError(error, command)
  return new AirgapError('INTERNAL', `unexpected fault: ${messageOf(error)}`, {
    hint: 'This is a bug in airgap. Please report it with the command line and the lines below.',
    cause: error,
  })
}

/**
 * Reports why a command failed: with `--json` as the document on standard output, otherwise on standard error. A JSON
 * log on standard error gets it in any case, so that the log has an end.
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
      hint: hintOf(error),
      ...(error.problems.length === 0 ? {} : { problems: worded(error) }),
    },
  }
}
