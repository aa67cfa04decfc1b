import { AirgapError } from '../../errors.ts'
import { nearest } from '../../nearest.ts'
import { globalOptions, wantsJson } from '../input/global-flags.ts'
import { log } from '../output/log.ts'
import { reportFailure } from './report-error.ts'

/**
 * Tells which commands there are, where one was named that there is not.
 *
 * @param args the whole command line: flags may stand before what was taken for the command.
 * @returns the exit code.
 */
export function commandNotFound(id: string, args: readonly string[], commands: readonly string[]): number {
  log.configure(globalOptions(args))
  return reportFailure(unknownCommand(id, commands), { json: wantsJson(args) })
}

const PACK = '`airgap pack` fetches images and writes them into one file: `airgap pack --help`.'
const PUSH =
  '`airgap push` verifies a bundle and puts it into a registry: `airgap push --help`. A node takes one without a registry: `ctr -n k8s.io images import BUNDLE`.'
const BOTH =
  'Outside, `airgap pack` writes images into one file; inside, `airgap push` puts them into a registry.'

/** What other tools call it. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  pull: PACK,
  save: PACK,
  download: PACK,
  export: PACK,
  fetch: PACK,
  create: PACK,
  build: PACK,
  load: PUSH,
  import: PUSH,
  upload: PUSH,
  copy: BOTH,
  cp: BOTH,
  sync: BOTH,
  mirror: BOTH,
  version: '`airgap --version` prints it.',
  check: '`airgap verify` checks a bundle, offline: `airgap verify --help`.',
  images: '`airgap list` prints the images that are meant, `airgap inspect` those of a bundle.',
  approve: '`airgap sign` approves a bundle with a signature of your own: `airgap sign --help`.',
}

/** @param id what stands where the command should; oclif appends what follows, after colons. */
export function unknownCommand(id: string, commands: readonly string[]): AirgapError {
  const word = id.replace(/:.*/s, '')
  if (word.startsWith('-')) {
    return new AirgapError('USAGE', `${JSON.stringify(word)} stands where the command has to be`, {
      hint: 'The command comes first, then its flags: `airgap COMMAND --help`.',
    })
  }
  const here = Object.hasOwn(ELSEWHERE, word.toLowerCase()) ? ELSEWHERE[word.toLowerCase()] : undefined
  if (here !== undefined) {
    return new AirgapError('USAGE', `there is no command ${JSON.stringify(word)}`, { hint: here })
  }
  const meant = nearest(word, commands)
  const guess = meant === undefined ? '' : `Did you mean \`airgap ${meant}\`? `
  return new AirgapError('USAGE', `there is no command ${JSON.stringify(word)}`, {
    hint: `${guess}There are ${commands.toSorted().join(', ')}. \`airgap COMMAND --help\` says more.`,
  })
}
