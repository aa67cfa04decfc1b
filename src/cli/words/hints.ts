import type { AirgapError, Problem } from '../../errors.ts'
import { hintText, type Hint, type HintWords } from '../../hints.ts'
import { redacted } from '../../text.ts'

/** What the reader of a terminal can do about a fault: the hints of `src/hints.ts` with flags and commands. */
const HINTS: HintWords = {
  'exclude-image': () => 'Leave the image out with --exclude.',
}

/** Hints as the command line says them; undefined where there are none. */
export function wordsOf(hints: readonly Hint[]): string | undefined {
  return hints.length === 0 ? undefined : redacted(hintText(hints, HINTS))
}

/** What to do about an error, in the command line's words. */
export function hintOf({ hints }: AirgapError): string | undefined {
  return wordsOf(hints)
}

/** A message and its hints in one text. */
export function messageWith(message: string, hints: readonly Hint[] = []): string {
  const words = wordsOf(hints)
  return words === undefined ? message : `${message}. ${words}`
}

/** Problems as they are printed, with their hints in the message. */
export function problemsOf({ problems }: AirgapError): Omit<Problem, 'hints'>[] {
  return problems.map(({ hints, ...problem }) => ({
    ...problem,
    message: messageWith(problem.message, hints),
  }))
}
