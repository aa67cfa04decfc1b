import { AirgapError } from '../../errors.ts'

/** Characters that mean something to a shell where they stand outside of quotes; some only where a word begins. */
const SPECIAL = new Set('|&;<>()$`\\*?[]{}')
const SPECIAL_AT_START = new Set('#~!')
/** And those inside double quotes. */
const SPECIAL_QUOTED = new Set('$`\\!')

// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/

/**
 * Splits a command line into its words. Blanks separate; single and double quotes hold what stands between them
 * together, as it is. Nothing is expanded and no shell is involved. What a shell would expand, or treat otherwise than
 * as text, is refused unless it is quoted: so a line that is accepted means what it means to a POSIX shell
 * (IEEE Std 1003.1, Shell Command Language, § 2.2), and nothing that looks like a pipe is handed over as an argument.
 *
 * @returns at least one word, the program.
 * @throws AirgapError `USAGE`; never quotes the line, which may hold a PIN.
 */
export function splitCommandLine(line: string): [program: string, ...args: string[]] {
  if (CONTROL.test(line)) throw refused('it holds a line end or another control character')
  const words: string[] = []
  let word: string | undefined
  let quote: string | undefined
  for (const character of line) {
    if (quote !== undefined) {
      if (character === quote) quote = undefined
      else if (quote === '"' && SPECIAL_QUOTED.has(character)) throw special(character, ' in double quotes')
      else word = `${word}${character}`
    } else if (character === ' ' || character === '\t') {
      if (word !== undefined) words.push(word)
      word = undefined
    } else if (character === "'" || character === '"') {
      quote = character
      word ??= ''
    } else if (SPECIAL.has(character) || (word === undefined && SPECIAL_AT_START.has(character))) {
      throw special(character, '')
    } else {
      word = `${word ?? ''}${character}`
    }
  }
  if (quote !== undefined) throw refused(`a quote (${quote}) is not closed`)
  if (word !== undefined) words.push(word)
  const [program, ...args] = words
  if (program === undefined || program === '') throw refused('it names no program')
  if (/^[A-Za-z_][A-Za-z0-9_]*=/.test(program)) {
    throw refused(
      'it begins with a variable (NAME=…), and only a shell sets these',
      'Set it before airgap is called.',
    )
  }
  return [program, ...args]
}

function special(character: string, where: string): AirgapError {
  return refused(
    `there is no shell to make anything of ${character}${where}`,
    `Put what is meant as text into single quotes ('…${character}…'). For pipes, variables and the like write a script, and name that.`,
  )
}

function refused(reason: string, hint?: string): AirgapError {
  return new AirgapError('USAGE', `the sign command cannot be used: ${reason}`, { hint })
}
