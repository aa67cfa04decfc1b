import type { Interfaces } from '@oclif/core'
import { AirgapError } from '../errors.ts'
import { nearest } from '../nearest.ts'
import { globalOptions, wantsJson } from './global-flags.ts'
import { log } from './log.ts'
import { reportFailure } from './report-error.ts'

/**
 * Tells which commands there are, where one was named that there is not.
 *
 * @param args the whole command line: flags may stand before what was taken for the command.
 * @returns the exit code.
 */
export function commandNotFound(id: string, args: readonly string[], config: Interfaces.Config): number {
  log.configure(globalOptions(args))
  return reportFailure(unknownCommand(id, config.commandIDs), { json: wantsJson(args) })
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
