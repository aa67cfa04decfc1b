import { stringify } from 'yaml'
import { CONFIG_KEYS, CONFIG_VERSION, descriptionOf, exampleOf, type Config } from './schema.ts'

const WIDTH = 100

const HEAD = [
  'What to list, resolve and pack. Made to be kept in git.',
  'A flag on the command line replaces the key of its name. Keys to sign with, passwords, credentials and exceptions from TLS cannot stand here: they are flags of each run.',
  'Lines with # and no space behind it are examples: take the # away to use them.',
]

export interface TemplateOptions {
  /** Path or address of the JSON schema, for editors with yaml-language-server. */
  schema?: string | undefined
}

/**
 * A commented config: what `config` sets as it is, every other key as an example to uncomment. Read again, it
 * gives exactly `config`.
 */
export function formatConfig(config: Omit<Config, 'configVersion'>, options: TemplateOptions = {}): string {
  const values: Config = { ...config, configVersion: CONFIG_VERSION }
  const blocks = CONFIG_KEYS.map((key) => {
    const value = values[key]
    const lines =
      value === undefined ? entry(key, exampleOf(key)).map((line) => `#${line}`) : entry(key, value)
    return [...comment(descriptionOf(key)), ...lines].join('\n')
  })
  const head = HEAD.flatMap(comment)
  if (options.schema !== undefined) head.unshift(`# yaml-language-server: $schema=${options.schema}`)
  return `${[head.join('\n'), ...blocks].join('\n\n')}\n`
}

function entry(key: string, value: unknown): string[] {
  if (!Array.isArray(value)) return [`${key}: ${scalar(value)}`]
  return value.length === 0 ? [`${key}: []`] : [`${key}:`, ...value.map((item) => `  - ${scalar(item)}`)]
}

/** One line. Quoted where this or an older YAML would read something else than the text. */
function scalar(value: unknown): string {
  if (typeof value === 'string' && !/^[ -~]*$/.test(value)) return escaped(value)
  return stringify(value, { compat: 'yaml-1.1', lineWidth: 0, doubleQuotedAsJSON: true }).trimEnd()
}

/** In double quotes, with all that a terminal or an editor could take amiss as escapes. */
function escaped(text: string): string {
  return JSON.stringify(text).replaceAll(
    /[^ -~\p{L}\p{N}]|\p{Default_Ignorable_Code_Point}/gu,
    (character) => {
      const code = character.codePointAt(0) ?? 0
      return code > 0xffff
        ? `\\U${code.toString(16).padStart(8, '0')}`
        : `\\u${code.toString(16).padStart(4, '0')}`
    },
  )
}

/** Comment lines, broken between words. */
function comment(text: string): string[] {
  const lines: string[] = []
  let line = '#'
  for (const word of text.split(' ')) {
    if (line !== '#' && line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = '#'
    }
    line += ` ${word}`
  }
  return [...lines, line]
}
