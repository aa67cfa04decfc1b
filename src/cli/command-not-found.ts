import type { Command } from '@oclif/core'
import { AirgapError } from '../errors.ts'
import { jsonText } from './format.ts'
import { errorDocument, formatError } from './report-error.ts'

/** Tells which commands there are, where one was named that there is not. */
export function commandNotFound(
  id: string,
  argv: readonly string[],
  commands: readonly Command.Loadable[],
): void {
  const names = commands.filter(({ hidden }) => !hidden).map((command) => command.id)
  const error = new AirgapError('USAGE', `there is no command ${JSON.stringify(id)}`, {
    hint: `There are ${names.join(', ')}. \`airgap COMMAND --help\` says more.`,
  })
  if (argv.includes('--json')) process.stdout.write(jsonText(errorDocument(error)))
  else process.stderr.write(`${formatError(error)}\n`)
  process.exitCode = error.exitCode
}
