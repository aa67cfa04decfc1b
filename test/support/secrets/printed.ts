import { AirgapError } from '../../../src/errors.ts'

const MOST_CAUSES = 5

/**
 * Everything of an error that gets out: what the command prints, and what a program prints that uses the library and
 * shows the causes, too.
 */
export function printed(error: unknown): string {
  const parts: string[] = []
  let current = error
  for (let depth = 0; depth < MOST_CAUSES && current instanceof Error; depth += 1) {
    parts.push(current.message)
    if (current instanceof AirgapError) {
      parts.push(
        current.hint ?? '',
        ...(current.problems ?? []).flatMap(({ entry, message }) => [entry, message]),
      )
    }
    current = current.cause
  }
  return parts.join('\n')
}
