import { columnsOf, type Screen } from './terminal.ts'

/**
 * Wraps text between words so that no line has more than `width` characters. Longer words and text in backticks are not
 * broken, so that digests, names and commands can be copied.
 */
export function wrap(text: string, width: number): string[] {
  return text.split('\n').flatMap((paragraph) => fill(wordsOf(paragraph), width))
}

function wordsOf(text: string): string[] {
  // `-o -` stays together, and so does a quoted word with spaces.
  return text.match(/(?:`[^`]*`|-[a-z] -(?=\s|$)|(?<![\w)])'[^']*(?:'\\''[^']*)*'(?![\w])|[^\s`])+/g) ?? []
}

function fill(words: readonly string[], width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of words) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return line === '' && lines.length > 0 ? lines : [...lines, line]
}

/**
 * Text for a stream. On a terminal, lines that are too long are wrapped; elsewhere they are not, so that a message is
 * one line to search for. Lines that begin with a space are already laid out, and stay.
 * @param indent how far to indent all lines but the first.
 */
export function fitted(text: string, stream: Screen, indent = 0): string {
  const width = Math.max(columnsOf(stream) ?? Infinity, LEAST_WIDTH)
  return text
    .split('\n')
    .flatMap((line) =>
      line.length <= width - indent || line.startsWith(' ') ? [line] : wrap(line, width - indent),
    )
    .join(`\n${' '.repeat(indent)}`)
}

const LEAST_WIDTH = 40

/** Wrapped paragraphs with every line indented. */
export function indented(text: string, indent: number, width: number): string[] {
  return wrap(text, width - indent).map((line) => `${' '.repeat(indent)}${line}`.trimEnd())
}

/** A command on as few lines as needed, all but the last ending in a backslash, so that they can be copied together. */
export function wrapCommand(command: string, indent: number, width: number): string[] {
  const first = ' '.repeat(indent)
  const further = ' '.repeat(indent + 4)
  const lines: string[] = []
  let line = ''
  for (const part of partsOf(command)) {
    const room = width - (lines.length === 0 ? indent : indent + 4) - ' \\'.length
    if (line !== '' && line.length + 1 + part.length > room) {
      lines.push(line)
      line = part
    } else {
      line = line === '' ? part : `${line} ${part}`
    }
  }
  lines.push(line)
  return lines.map((text, i) => `${i === 0 ? first : further}${text}${i < lines.length - 1 ? ' \\' : ''}`)
}

/** The words of a command, with each flag joined to its value. */
function partsOf(command: string): string[] {
  const words = command.match(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g) ?? []
  const parts: string[] = []
  for (const word of words) {
    const last = parts.at(-1)
    if (last !== undefined && /^(?:-[a-z]|--[a-z-]+|[|<>])$/.test(last) && !/^--[a-z]/.test(word)) {
      parts[parts.length - 1] = `${last} ${word}`
    } else parts.push(word)
  }
  return parts
}

/**
 * Terms and their descriptions in two columns. A term that is too long for its column goes on its own line.
 * @param widest the maximum width of the first column.
 */
export function definitions(
  rows: readonly (readonly [term: string, text: string])[],
  { indent, width, widest }: { indent: number; width: number; widest: number },
): string[] {
  const lengths = rows.map(([term]) => term.length).filter((length) => length <= widest)
  const column = Math.max(0, ...lengths)
  const space = ' '.repeat(indent)
  return rows.flatMap(([term, text]) => {
    const lines = wrap(text, width - indent - column - 2)
    const gap = ' '.repeat(column)
    if (term.length > column) return [`${space}${term}`, ...lines.map((line) => `${space}${gap}  ${line}`)]
    return lines.map((line, i) => `${space}${i === 0 ? term.padEnd(column) : gap}  ${line}`.trimEnd())
  })
}
