import { AirgapError, withHint, type Problem } from '../errors.ts'
import type { YamlPath } from './yaml-places.ts'
import type { Hints } from '../hints.ts'

/** What is wrong in a document. */
export interface Fault {
  path: YamlPath
  message: string
  /** The key is meant, not its value. */
  atKey?: boolean
  /** Where that is, if it is known already: looking it up has its price. */
  offset?: number
}

/**
 * Does what a value of a document asks for. Where that is refused, it is one more fault, at the value's place.
 * @returns what the work returns; undefined where it was refused.
 */
export async function attempt<T>(
  path: YamlPath,
  faults: Fault[],
  work: () => T | Promise<T>,
): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    faults.push({ path, message: withHint(error) })
    return undefined
  }
}

/** Characters of a message, which may quote as much of the file as there is. */
const MAX_MESSAGE = 500

/**
 * The error about a document that cannot be used: a single mistake is told in the message, several are a list.
 *
 * @param words the beginning of the message: `one` stands before a single mistake, `several` before their number.
 */
export function unusableDocument(
  code: 'INVALID_CONFIG' | 'INVALID_POLICY',
  found: readonly Problem[],
  words: { one: string; several: string; hint: Hints },
): AirgapError {
  const problems = found.map(({ entry, message, hints = [] }) => ({
    entry,
    hints,
    message: message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE)}…` : message,
  }))
  const [first] = problems
  const isOne = problems.length === 1 && first !== undefined
  return new AirgapError(
    code,
    isOne ? `${words.one}${first.entry}: ${first.message}` : `${words.several}: ${problems.length} mistakes`,
    { problems: isOne ? [] : problems, hint: [...(isOne ? first.hints : []), words.hint].flat() },
  )
}
