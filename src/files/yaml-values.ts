import * as v from 'valibot'
import { AirgapError, withHint } from '../errors.ts'

/** Characters; as many as a text of a bundle's description may have. */
const MAX_TEXT = 4096

/** Text on one line, which everybody can read and every reader of a bundle takes. */
export const text = v.pipe(
  v.string(),
  v.minLength(1, 'is empty'),
  v.maxLength(MAX_TEXT, `has more than ${MAX_TEXT} characters`),
  // oxlint-disable-next-line no-control-regex
  v.regex(/^[^\u0000-\u001f\u007f]*$/, 'holds a line end or another control character'),
  // YAML can write it, and JSON of ours cannot.
  v.check((value) => value.isWellFormed(), 'holds half a surrogate pair'),
)

/**
 * Refuses what `parse` refuses: the same parsers read the flags.
 * @param words what the fault is called; by default the parser's own message and hint.
 */
export function readableBy(
  parse: (text: string) => unknown,
  words: (error: AirgapError) => string = withHint,
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
