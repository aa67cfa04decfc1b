import type { Hook } from '@oclif/core'
import { AirgapError } from '../errors.ts'
import { jsonText } from './format.ts'
import { errorDocument, formatError } from './report-error.ts'

/** Tells which commands there are, where one was named that there is not. */
const hook: Hook.CommandNotFound = async function ({ id, argv, config }) {
  const commands = config.commandIDs.toSorted().join(', ')
  const error = new AirgapError('USAGE', `there is no command ${JSON.stringify(id.replace(/:.*/, ''))}`, {
    hint: `There are ${commands}. \`airgap COMMAND --help\` says more.`,
  })
  if (argv?.includes('--json')) process.stdout.write(jsonText(errorDocument(error)))
  else process.stderr.write(`${formatError(error)}\n`)
  this.exit(error.exitCode)
}

export default hook
