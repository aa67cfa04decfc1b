import type { Interfaces } from '@oclif/core'
import { AirgapError } from '../errors.ts'
import { jsonText } from './format.ts'
import { nearest } from './nearest.ts'
import { errorDocument, formatError } from './report-error.ts'

/**
 * Tells which commands there are, where one was named that there is not.
 * @returns the exit code.
 */
export function commandNotFound(id: string, argv: readonly string[], config: Interfaces.Config): number {
  const error = unknownCommand(id, config.commandIDs)
  if (argv.includes('--json')) process.stdout.write(jsonText(errorDocument(error)))
  else process.stderr.write(`${formatError(error)}\n`)
  return error.exitCode
}

/** @param id what stands where the command should; oclif appends what follows, after colons. */
export function unknownCommand(id: string, commands: readonly string[]): AirgapError {
  const word = id.replace(/:.*/s, '')
  if (word.startsWith('-')) {
    return new AirgapError('USAGE', `${JSON.stringify(word)} stands where the command has to be`, {
      hint: 'The command comes first, then its flags: `airgap COMMAND --help`.',
    })
  }
  const meant = nearest(word, commands)
  const guess = meant === undefined ? '' : `Did you mean \`airgap ${meant}\`? `
  return new AirgapError('USAGE', `there is no command ${JSON.stringify(word)}`, {
    hint: `${guess}There are ${commands.toSorted().join(', ')}. \`airgap COMMAND --help\` says more.`,
  })
}
