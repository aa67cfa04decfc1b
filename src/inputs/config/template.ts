import { stringify } from 'yaml'
import { CONFIG_KEYS, CONFIG_VERSION, descriptionOf, exampleOf, type Config } from './schema.ts'

const WIDTH = 100

const HEAD = [
  'What to list, resolve and pack. Keep this file in git.',
  'A flag on the command line replaces its key. Signing keys, passwords, credentials and exceptions from TLS cannot be set here: give them as flags for each run.',
  'Lines with # and no space after it are examples: remove the # to use them.',
]

export interface TemplateOptions {
  /** Path or URL of the JSON schema, for editors with yaml-language-server. */
  schema?: string | undefined
}

/**
 * A commented config with the values of `config`, and every other key as an example to uncomment. Parsing it gives
 * exactly `config`.
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

/** A value on one line, quoted if YAML 1.1 or 1.2 would otherwise read something else. */
function scalar(value: unknown): string {
  if (typeof value === 'string' && !/^[ -~]*$/.test(value)) return escaped(value)
  return stringify(value, { compat: 'yaml-1.1', lineWidth: 0, doubleQuotedAsJSON: true }).trimEnd()
}

/** In double quotes, with characters that could confuse a terminal or an editor as escapes. */
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

/** Wrapped comment lines. */
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
