import { stripVTControlCharacters } from 'node:util'
import { AirgapError, messageOf } from '../../errors.ts'
import { nearest } from '../../nearest.ts'

/** What oclif's parser knows about a fault in the command line, besides its message. */
interface ParserFault {
  /** Missing arguments, or unexpected words. */
  args?: readonly (string | { name: string; description?: string; options?: readonly string[] })[]
  /** Unknown flags. */
  flags?: readonly string[]
  parse?: { input?: { flags?: Record<string, unknown> } }
}

/** What Node.js puts in place of bytes that are not UTF-8. */
const REPLACEMENT = '\uFFFD'
/** Variables that name files, or whose value is used byte by byte. */
const NAMES = /^(?:AIRGAP_\w+|COSIGN_PASSWORD|XDG_(?:STATE|CONFIG)_HOME|DOCKER_CONFIG|REGISTRY_AUTH_FILE)$/

/**
 * The error for an argument, a variable or a current folder that is not UTF-8. Node.js has already replaced its bytes,
 * so another file would be read or written.
 * @returns undefined if all are UTF-8.
 */
export function encodingFault(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  folder: string,
): AirgapError | undefined {
  const fault = (what: string, hint: string): AirgapError =>
    new AirgapError('USAGE', `${what} is not UTF-8`, { hint })
  const i = args.findIndex((arg) => arg.includes(REPLACEMENT))
  if (i >= 0) {
    return fault(
      `argument ${i + 1}, ${JSON.stringify(args[i])},`,
      'airgap would see a different name. Rename the file to ASCII or UTF-8: `convmv -f latin1 -t utf8 --notest FILE`, or `mv` with the beginning of its name and *.',
    )
  }
  const variable = Object.keys(env).find((name) => NAMES.test(name) && env[name]?.includes(REPLACEMENT))
  if (variable !== undefined) {
    return fault(`the variable ${variable}`, 'airgap would read something else. Write it as UTF-8.')
  }
  if (!folder.includes(REPLACEMENT)) return undefined
  return fault(
    `the name of the current folder, ${JSON.stringify(folder)},`,
    'Use another folder, or rename this one.',
  )
}

/** Whether oclif's parser found a fault in the command line. */
export function isParserError(error: unknown): error is Error {
  return error instanceof Error && 'oclif' in error
}

/**
 * Turns a fault from oclif's parser into our error, which suggests the nearest flag for a mistyped one.
 * @param command the command that ran, if known.
 */
export function usageError(error: Error & ParserFault, command?: string): AirgapError {
  const help = `\`airgap ${command ?? 'COMMAND'} --help\``
  const { args } = error
  // Without their values, which may be passwords.
  const flags = error.flags?.map((flag) => flag.replace(/=.*/s, ''))
  if (flags) {
    const known = Object.keys(error.parse?.input?.flags ?? {})
    const meant = flags.flatMap((flag) => {
      const name = flag.startsWith('--') ? nearest(flag.slice(2), known) : undefined
      return name === undefined ? [] : [`--${name}`]
    })
    const guess = meant.length === 0 ? '' : `Did you mean ${meant.join(' and ')}? `
    const message = `there is no flag ${flags.join(' or ')}`
    return new AirgapError('USAGE', message, { hint: `${guess}${help} shows all flags.` })
  }
  const message = args ? argumentFault(args) : parserMessage(error)
  return new AirgapError('USAGE', message, { hint: `${help} shows the usage.` })
}

function argumentFault(args: NonNullable<ParserFault['args']>): string {
  const words = args.filter((arg) => typeof arg === 'string')
  if (words.length > 0) return `too many arguments: ${words.join(' ')}`
  const missing = args
    .filter((arg) => typeof arg !== 'string')
    .map(({ name, description, options }) => {
      const about = options ? options.join(' or ') : description
      return about === undefined ? name.toUpperCase() : `${name.toUpperCase()} (${about})`
    })
  return `missing: ${missing.join(' and ')}`
}

/**
 * oclif's own message without colours, without its advice, some of which is wrong here (flags take one value at a
 * time), and without values of flags, which may be secret.
 */
function parserMessage(error: Error): string {
  return stripVTControlCharacters(messageOf(error))
    .replaceAll(/^(\s*--[a-z-]+)=[^]*?( cannot also be provided when using --[a-z-]+)$/gm, '$1$2')
    .replace(/\n\nNote: [^]*$/, '')
    .replace(/\nSee more help with --help\s*$/, '')
    .replace(/^The following errors? occurred:\s*/, '')
    .replace(/^Parsing (--\S+)\s*\n\s*/, '$1: ')
    .replaceAll(/Missing required flag (\w)/g, 'Missing required flag --$1')
    .replaceAll(/=true\b/g, '')
    .replaceAll(/\s*\n\s*/g, '; ')
}
