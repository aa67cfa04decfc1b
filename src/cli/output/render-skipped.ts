import type { SkippedImage } from '../../bundle/description.ts'
import { EXIT_CODES } from '../../errors.ts'
import { escapeLine, plural } from './format.ts'
import { fitted } from './wrap.ts'

/** What was asked for and is not there, as a paragraph of its own; nothing where nothing was left out. */
export function renderSkipped(skipped: readonly SkippedImage[] = []): string[] {
  const lines = skipped.flatMap(({ source, message }) => [
    `left out: ${source}`,
    `    ${fitted(`because ${escapeLine(message)}`, process.stdout, 4)}`,
  ])
  return lines.length === 0 ? [] : ['', ...lines]
}

/** The last word on a lock or bundle that lacks images; undefined where it lacks none. */
export function skippedWarning(
  file: string | undefined,
  skipped: readonly SkippedImage[] = [],
): string | undefined {
  if (skipped.length === 0) return undefined
  const codes: Record<string, number> = EXIT_CODES
  const refused = skipped.filter(({ code }) => codes[code] === EXIT_CODES.DENIED).length
  const [are, they] = skipped.length === 1 ? ['is', 'it'] : ['are', 'they']
  const refusals = refused === 0 ? '' : `, ${refused} of them for want of credentials or permission`
  return `${plural(skipped.length, 'image')} ${are} left out${file === undefined ? '' : ` of ${file}`}: ${they} could not be resolved${refusals}`
}
