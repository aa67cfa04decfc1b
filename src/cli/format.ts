import { harmlessJson } from '../foreign-text.ts'

export { formatDuration } from '../duration.ts'
export { escapeForeign, escapeLine, shellWord } from '../foreign-text.ts'

/** JSON for standard output, with what could harm a terminal written as escapes. */
export function jsonText(value: unknown): string {
  return `${harmlessJson(JSON.stringify(value, null, 2))}\n`
}

/** The same on one line. */
export function jsonLine(value: unknown): string {
  return `${harmlessJson(JSON.stringify(value))}\n`
}

const UNITS = ['kB', 'MB', 'GB', 'TB']

/** `1.2 GB`, in units of 1,000 as disks are sold. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  let value = bytes
  let unit = -1
  do {
    value /= 1000
    unit += 1
  } while (value >= 999.5 && unit < UNITS.length - 1)
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`
}

/** `1,234,567`. */
export function formatCount(value: number): string {
  return value.toLocaleString('en-US')
}

/** `1 image`, `2 images`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`
}

const NARROW = 80

/** Lines of `label  value`, the values in one column; one that would not fit a narrow terminal stands below. */
export function formatFields(fields: readonly (readonly [label: string, value: string])[]): string {
  const width = Math.max(...fields.map(([label]) => label.length))
  return fields
    .map(([label, value]) => {
      const line = `  ${label.padEnd(width)}  ${value}`
      return line.length > NARROW && value.length <= NARROW - 4 ? `  ${label}\n    ${value}` : line
    })
    .join('\n')
}

/** `label value`; where that would not fit a narrow terminal, the value stands below, because it is there to be copied. */
export function labelled(label: string, value: string, indent: number): string[] {
  const space = ' '.repeat(indent)
  const line = `${space}${label} ${value}`
  return line.length > NARROW ? [`${space}${label}`, `${space}  ${value}`] : [line]
}
