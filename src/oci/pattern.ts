import { AirgapError } from '../errors.ts'
import { formatReference, nameOf, type Reference } from './reference.ts'

/** Whether a reference matches a user's pattern. */
export type ReferencePattern = (reference: Reference) => boolean

/**
 * Parses a pattern of images to include or exclude. It has to match the fully qualified reference or its name;
 * `*` stands for any characters, including `/`, and `?` for one.
 * Examples: `registry.k8s.io/pause`, `registry.k8s.io/*`, `*:*-alpine`.
 *
 * @throws AirgapError `USAGE`
 */
export function parsePattern(text: string): ReferencePattern {
  if (text === '' || /\s/.test(text)) {
    throw new AirgapError('USAGE', `${JSON.stringify(text)} is not a pattern`, {
      hint: 'Write a whole reference, with * for any characters: docker.io/library/*, *-alpine.',
    })
  }
  return (reference) => matches(text, formatReference(reference)) || matches(text, nameOf(reference))
}

/** Parses a pattern of the same kind that has to match a whole text. */
export function parseTextPattern(pattern: string): (text: string) => boolean {
  return (text) => matches(pattern, text)
}

/** Matches wildcards. Never backtracks beyond the last `*`, so that no pattern is slow. */
function matches(pattern: string, text: string): boolean {
  let p = 0
  let t = 0
  let star = -1
  let resume = 0
  while (t < text.length) {
    if (p < pattern.length && pattern[p] === '*') {
      star = p
      resume = t
      p += 1
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t])) {
      p += 1
      t += 1
    } else if (star >= 0) {
      resume += 1
      t = resume
      p = star + 1
    } else {
      return false
    }
  }
  while (pattern[p] === '*') p += 1
  return p === pattern.length
}
