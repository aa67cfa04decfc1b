import type { Hook } from '@oclif/core'
import { AirgapError } from '../errors.ts'
import { nearest } from '../nearest.ts'
import { globalOptions, wantsJson } from './global-flags.ts'
import { log } from './log.ts'
import { reportFailure } from './report-error.ts'

/** Tells which commands there are, where one was named that there is not. */
const hook: Hook.CommandNotFound = async function ({ id, config }) {
  // The whole command line: flags may stand before what was taken for the command.
  const argv = process.argv.slice(2)
  log.configure(globalOptions(argv))
  this.exit(reportFailure(unknownCommand(id, config.commandIDs), { json: wantsJson(argv) }))
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

export default hook
