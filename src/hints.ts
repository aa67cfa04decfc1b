/**
 * What a reader can do about a fault, by identifier. The words here are the library's, and name options as the library
 * has them. `cli/words/hints.ts` says the same with flags and commands.
 */
export const HINTS = {
  'exclude-image': () => 'Leave the image out.',
} satisfies Record<string, (parameters: never) => string>

export type HintId = keyof typeof HINTS

/** What a hint's wording needs to know. */
export type HintParameters<I extends HintId> = Parameters<(typeof HINTS)[I]> extends [infer P] ? P : unknown

/** A hint by its identifier, with its parameters beside it. */
export type NamedHint = { [I in HintId]: { id: I } & HintParameters<I> }[HintId]

/** Text that names neither flags nor commands needs no identifier. */
export type Hint = string | NamedHint

/** A wording for every hint. */
export type HintWords = { [I in HintId]: (parameters: HintParameters<I>) => string }

/** Hints as one text, by the library's words unless others are given. */
export function hintText(hints: readonly Hint[], words: HintWords = HINTS): string {
  const texts = hints.map((hint) => (typeof hint === 'string' ? hint : sentence(hint, words)))
  // One that begins with a line break stands on lines of its own.
  return texts.reduce((all, text) => (text.startsWith('\n') ? all + text : `${all} ${text}`)).trimStart()
}

function sentence(hint: NamedHint, words: HintWords): string {
  const word = words[hint.id] as (parameters: NamedHint) => string
  return word(hint)
}
