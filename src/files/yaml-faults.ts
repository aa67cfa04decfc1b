import { AirgapError, withHint, type Problem } from '../errors.ts'
import type { YamlPath } from './yaml-places.ts'
import type { Hints } from '../hints.ts'

/** A mistake in a document. */
export interface Fault {
  path: YamlPath
  message: string
  /** The fault is in the key, not in its value. */
  atKey?: boolean
  /** Where that is, if known: looking it up takes time. */
  offset?: number
}

/**
 * Runs work that depends on a value of a document. If it throws an AirgapError, adds a fault at the value's place.
 * @returns what the work returns; undefined if it failed.
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

/** Longest message, in characters: messages can quote any amount of the file. */
const MAX_MESSAGE = 500

/**
 * The error for a document that cannot be used. A single mistake goes into the message, several become a list.
 *
 * @param words the beginning of the message: `one` precedes a single mistake, `several` the number of mistakes.
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
