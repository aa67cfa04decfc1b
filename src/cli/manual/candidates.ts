import type { ArgumentModel, CommandModel, FlagModel, ProgramModel } from './program.ts'

/** What can be completed in one place of a command line. */
export type Candidates = 'nothing' | 'files' | readonly string[]

/** Placeholders and argument names that stand for a file. */
const FILE_WORDS = new Set(['FILE', 'PUB', 'BUNDLE', 'PREFIX', 'LOCK', 'CONFIG'])

/** The platforms that most images have. Others can be typed. */
const PLATFORMS = [
  'linux/amd64',
  'linux/arm64',
  'linux/arm/v7',
  'linux/386',
  'linux/ppc64le',
  'linux/riscv64',
  'linux/s390x',
]

/** Words that are safe in a shell script without quotes. */
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

/** The ways to write a flag: `--output`, `-o`. */
export function spellings({ name, char }: FlagModel): string[] {
  return char === undefined ? [`--${name}`] : [`--${name}`, `-${char}`]
}

/**
 * The program without commands and flags whose names are not safe in a script. With sensible names, none is left out.
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
