import { harmlessJson } from '../../text.ts'

/** JSON for standard output, with characters that could harm a terminal escaped. */
export function jsonText(value: unknown): string {
  return `${harmlessJson(JSON.stringify(value, null, 2))}\n`
}

/** The same on one line. */
export function jsonLine(value: unknown): string {
  return `${harmlessJson(JSON.stringify(value))}\n`
}

/** `1,234,567`, for whole numbers. `toLocaleString` would do the same, but takes 20 ms to load. */
export function formatCount(value: number): string {
  return String(value).replaceAll(/\B(?=(?:\d{3})+$)/g, ',')
}

/** `1 image`, `2 images`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`
}

const NARROW = 80

/**
 * Lines of `label  value`, the values in one column. A value that does not fit a narrow terminal goes on its own line.
 */
export function formatFields(fields: readonly (readonly [label: string, value: string])[]): string {
  const width = Math.max(...fields.map(([label]) => label.length))
  return fields
    .map(([label, value]) => {
      const line = `  ${label.padEnd(width)}  ${value}`
      return line.length > NARROW && value.length <= NARROW - 4 ? `  ${label}\n    ${value}` : line
    })
    .join('\n')
}

/** Joins paragraphs with empty lines between them, and leaves out empty ones. */
export function paragraphs(...all: (string | readonly string[])[]): string {
  return all
    .map((lines) => (typeof lines === 'string' ? lines : lines.join('\n')).replace(/^\n+/, ''))
    .filter((text) => text !== '')
    .join('\n\n')
}

/**
 * The end of a result, which is what stays on the screen: the verdict, and what it is about.
 * @param fields who signed the bundle, and its digest.
 */
export function formatEnd(
  verdict: string,
  fields: readonly (readonly [label: string, value: string])[],
): string {
  return `${verdict}\n${formatFields(fields)}`
}

/** `label value`. If that does not fit a narrow terminal, the value goes on its own line, so that it can be copied. */
export function labelled(label: string, value: string, indent: number): string[] {
  const space = ' '.repeat(indent)
  const line = `${space}${label} ${value}`
  return line.length > NARROW ? [`${space}${label}`, `${space}  ${value}`] : [line]
}
