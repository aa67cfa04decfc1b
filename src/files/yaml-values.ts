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

/** What an issue expects if its message is a whole sentence, and not the rest of one that begins with the value's name. */
const SENTENCE = 'a value that can be parsed'

/**
 * Refuses what `parse` refuses, so that a file and a flag accept the same.
 * @param words the message, after the value's name; by default the parser's own message and hint, which is a sentence.
 */
export function readableBy(
  parse: (text: string) => unknown,
  words?: (error: AirgapError) => string,
): v.RawCheckAction<string> {
  return v.rawCheck<string>(({ dataset, addIssue }) => {
    if (!dataset.typed) return
    try {
      parse(dataset.value)
    } catch (error) {
      if (!(error instanceof AirgapError)) throw error
      addIssue(words ? { message: words(error) } : { message: withHint(error), expected: SENTENCE })
    }
  })
}

/** Whether the message of an issue is a whole sentence. */
export function isSentence({ expected }: Pick<v.BaseIssue<unknown>, 'expected'>): boolean {
  return expected === SENTENCE
}

/** An issue of a value in words. */
export function issueOf(name: string, issue: Pick<v.BaseIssue<unknown>, 'expected' | 'message'>): string {
  return isSentence(issue) ? `${name}: ${issue.message}` : `${name} ${issue.message}`
}
