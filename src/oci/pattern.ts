import { AirgapError } from '../errors.ts'
import { formatReference, nameOf, type Reference } from './reference.ts'

/** Says whether a reference is one that a user's pattern means. */
export type ReferencePattern = (reference: Reference) => boolean

/**
 * Reads a pattern for `--include` and `--exclude`. It is compared with the fully qualified reference and with its
 * name alone; `*` stands for any characters, `/` included, and `?` for one.
 * `registry.k8s.io/pause`, `registry.k8s.io/*` and `*:*-alpine` are patterns.
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

/** Reads a pattern of the same kind that is compared with a text as a whole. */
export function parseTextPattern(pattern: string): (text: string) => boolean {
  return (text) => matches(pattern, text)
}

/** Wildcard match without backtracking beyond the last `*`, so that no pattern is slow. */
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
