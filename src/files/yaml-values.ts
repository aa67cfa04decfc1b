import * as v from 'valibot'
import { AirgapError, withHint } from '../errors.ts'

/** Characters, the limit for texts in a bundle's description. */
const MAX_TEXT = 4096

/** One line of text that is valid in a bundle's description. */
export const text = v.pipe(
  v.string(),
  v.minLength(1, 'is empty'),
  v.maxLength(MAX_TEXT, `has more than ${MAX_TEXT} characters`),
  // oxlint-disable-next-line no-control-regex
  v.regex(/^[^\u0000-\u001f\u007f]*$/, 'holds a line end or another control character'),
  // YAML can express it, our JSON cannot.
  v.check((value) => value.isWellFormed(), 'holds half a surrogate pair'),
)

/**
 * Refuses what `parse` refuses, so that a file and a flag accept the same.
 * @param words the message for a fault, see {@link saidOf}; by default the parser's own message and hint.
 */
export function readableBy(
  parse: (text: string) => unknown,
  words: (error: AirgapError) => string = (error) => `: ${withHint(error)}`,
): v.RawCheckAction<string> {
  return v.rawCheck<string>(({ dataset, addIssue }) => {
    if (!dataset.typed) return
    try {
      parse(dataset.value)
    } catch (error) {
      if (!(error instanceof AirgapError)) throw error
      addIssue({ message: words(error) })
    }
  })
}

/**
 * A fault of a value. Most are told by the rest of a sentence, like `is empty`; one that is a sentence of its own begins with
 * a colon.
 */
export function saidOf(name: string, message: string): string {
  return message.startsWith(':') ? `${name}${message}` : `${name} ${message}`
}
