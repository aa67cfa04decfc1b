import type { ArgumentModel, CommandModel, FlagModel, ProgramModel } from './program.ts'

/** What can stand in one place of a command line, as far as it is known without asking anybody. */
export type Candidates = 'nothing' | 'files' | readonly string[]

/** Placeholders, and names of arguments, that stand for a file. */
const FILE_WORDS = new Set(['FILE', 'PUB', 'BUNDLE', 'PREFIX', 'LOCK', 'CONFIG'])

/** Platforms that most images are published for; any other can be typed. */
const PLATFORMS = [
  'linux/amd64',
  'linux/arm64',
  'linux/arm/v7',
  'linux/386',
  'linux/ppc64le',
  'linux/riscv64',
  'linux/s390x',
]

/** Words are put into shell scripts only where no shell could see more in them than a word. */
const PLAIN = /^[A-Za-z0-9_][A-Za-z0-9_./-]*$/

/** @param releases what to offer after `--kubeadm`. */
export function flagCandidates({ name, value, options }: FlagModel, releases: readonly string[]): Candidates {
  if (options) return plain(options)
  if (name === 'kubeadm') return plain(releases)
  if (value === 'PLATFORM') return PLATFORMS
  return value !== undefined && FILE_WORDS.has(value) ? 'files' : 'nothing'
}

export function argumentCandidates({ label, options }: ArgumentModel): Candidates {
  if (options) return plain(options)
  return FILE_WORDS.has(label) ? 'files' : 'nothing'
}

/** The flags of a command as they are written: `--output`, `-o`. */
export function spellings({ name, char }: FlagModel): string[] {
  return char === undefined ? [`--${name}`] : [`--${name}`, `-${char}`]
}

/**
 * The program without what no script could name safely; as long as commands are named as people would, that is
 * everything.
 */
export function plainProgram(program: ProgramModel): ProgramModel {
  const isPlain = ({ name }: { name: string }): boolean => PLAIN.test(name)
  return {
    ...program,
    commands: program.commands
      .filter(isPlain)
      .map(({ flags, ...command }): CommandModel => Object.assign(command, { flags: flags.filter(isPlain) })),
  }
}

function plain(words: readonly string[]): string[] {
  return words.filter((word) => PLAIN.test(word))
}
