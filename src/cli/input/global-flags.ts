export const LOG_FORMATS = ['text', 'json'] as const
export type LogFormat = (typeof LOG_FORMATS)[number]

/** Options for everything on standard error. */
export interface GlobalOptions {
  isQuiet: boolean
  logFormat: LogFormat
}

/**
 * Reads the global flags from a raw command line, as far as that is possible without knowing the command's own flags.
 * For messages before the command line is parsed, or when it cannot be parsed.
 */
export function globalOptions(argv: readonly string[]): GlobalOptions {
  const end = argv.indexOf('--')
  const words = end < 0 ? argv : argv.slice(0, end)
  let logFormat: LogFormat = 'text'
  for (const [i, word] of words.entries()) {
    const value = word === '--log-format' ? words[i + 1] : /^--log-format=(.*)$/s.exec(word)?.[1]
    logFormat = LOG_FORMATS.find((format) => format === value) ?? logFormat
  }
  // Letters can be combined: `-qo FILE`. After a letter that takes a value, `q` would be part of the value.
  return { isQuiet: words.some((word) => word === '--quiet' || word.startsWith('-q')), logFormat }
}

/** Whether `--json` is given, by the same rule as in oclif's commands. */
export function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--')
  return (end < 0 ? argv : argv.slice(0, end)).includes('--json')
}
