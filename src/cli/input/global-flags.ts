export const LOG_FORMATS = ['text', 'json'] as const
export type LogFormat = (typeof LOG_FORMATS)[number]

/** What holds for everything on standard error. */
export interface GlobalOptions {
  isQuiet: boolean
  logFormat: LogFormat
}

/**
 * Reads the flags of all commands from a raw command line, as far as they can be told without the command's own
 * flags: for what is said before the command line is parsed, or because it cannot be.
 */
export function globalOptions(argv: readonly string[]): GlobalOptions {
  const end = argv.indexOf('--')
  const words = end < 0 ? argv : argv.slice(0, end)
  let logFormat: LogFormat = 'text'
  for (const [i, word] of words.entries()) {
    const value = word === '--log-format' ? words[i + 1] : /^--log-format=(.*)$/s.exec(word)?.[1]
    logFormat = LOG_FORMATS.find((format) => format === value) ?? logFormat
  }
  // One letter may have others behind it: `-qo FILE`. Behind a letter that takes a value it would be the value.
  return { isQuiet: words.some((word) => word === '--quiet' || word.startsWith('-q')), logFormat }
}

/** Whether `--json` is given, by the rule of the base command. */
export function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--')
  return (end < 0 ? argv : argv.slice(0, end)).includes('--json')
}
