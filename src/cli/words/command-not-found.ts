import { AirgapError } from '../../errors.ts'
import { nearest } from '../../nearest.ts'
import { globalOptions, wantsJson } from '../input/global-flags.ts'
import { log } from '../output/log.ts'
import { reportFailure } from './report-error.ts'

/**
 * Reports an unknown command, and which commands there are.
 *
 * @param args the whole command line, because flags may come before the unknown word.
 * @returns the exit code.
 */
export function commandNotFound(id: string, args: readonly string[], commands: readonly string[]): number {
  log.configure(globalOptions(args))
  return reportFailure(unknownCommand(id, commands), { json: wantsJson(args) })
}

const PACK = '`airgap pack` fetches images into one file: `airgap pack --help`.'
const PUSH =
  '`airgap push` verifies a bundle and pushes it to a registry: `airgap push --help`. To load one on a node without a registry: `ctr -n k8s.io images import BUNDLE`.'
const BOTH =
  'Outside, `airgap pack` writes images into one file; inside, `airgap push` pushes them to a registry.'

/** Commands of other tools, and what to use instead. */
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
  version: 'Use `airgap --version`.',
  check: '`airgap verify` checks a bundle, offline: `airgap verify --help`.',
  images: '`airgap list` prints the images that inputs name, `airgap inspect` those in a bundle.',
  approve: '`airgap sign` approves a bundle with a signature of your own: `airgap sign --help`.',
}

/** @param id the word in the command's place; oclif appends the following words, with colons. */
export function unknownCommand(id: string, commands: readonly string[]): AirgapError {
  const word = id.replace(/:.*/s, '')
  if (word.startsWith('-')) {
    return new AirgapError('USAGE', `the command must come first, not ${JSON.stringify(word)}`, {
      hint: 'Give the command, then its flags: `airgap COMMAND --help`.',
    })
  }
  const here = Object.hasOwn(ELSEWHERE, word.toLowerCase()) ? ELSEWHERE[word.toLowerCase()] : undefined
  if (here !== undefined) {
    return new AirgapError('USAGE', `there is no command ${JSON.stringify(word)}`, { hint: here })
  }
  const meant = nearest(word, commands)
  const guess = meant === undefined ? '' : `Did you mean \`airgap ${meant}\`? `
  return new AirgapError('USAGE', `there is no command ${JSON.stringify(word)}`, {
    hint: `${guess}The commands are ${commands.toSorted().join(', ')}. \`airgap COMMAND --help\` says more.`,
  })
}
