import type { Hook } from '@oclif/core'
import { AirgapError } from '../errors.ts'
import { globalOptions, wantsJson } from './global-flags.ts'
import { log } from './log.ts'
import { reportFailure } from './report-error.ts'

/** Tells which commands there are, where one was named that there is not. */
const hook: Hook.CommandNotFound = async function ({ id, config }) {
  // The whole command line: flags may stand before what was taken for the command.
  const argv = process.argv.slice(2)
  log.configure(globalOptions(argv))
  const commands = config.commandIDs.toSorted().join(', ')
  const name = id.replace(/:.*/, '')
  const error = new AirgapError(
    'USAGE',
    name.startsWith('-')
      ? `the command comes first, and ${JSON.stringify(name)} behind it`
      : `there is no command ${JSON.stringify(name)}`,
    { hint: `There are ${commands}. \`airgap COMMAND --help\` says more.` },
  )
  this.exit(reportFailure(error, { json: wantsJson(argv) }))
}

export default hook
