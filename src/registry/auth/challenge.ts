/** One way to authenticate that a registry offers with a 401. */
export interface Challenge {
  /** Lower case. */
  scheme: string
  /** Names in lower case; of a repeated name, the first counts. */
  params: Map<string, string>
}

const MAX_LENGTH = 16 * 1024
const MAX_CHALLENGES = 32

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y
const TOKEN68 = /[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y
const PARAM = /([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/y
const SEPARATORS = /[ \t,]*/y

/**
 * Reads WWW-Authenticate (RFC 9110 § 11.6.1): several headers, several challenges in a header, parameters as tokens or
 * quoted text. Anything outside the grammar is skipped. Nothing is thrown: a registry that offers nothing usable is
 * reported as such.
 */
export function parseChallenges(header: string | string[] | undefined): Challenge[] {
  const challenges: Challenge[] = []
  for (const line of header === undefined ? [] : [header].flat()) {
    parseLine(line.slice(0, MAX_LENGTH), challenges)
  }
  return challenges
}

function parseLine(text: string, challenges: Challenge[]): void {
  let at = 0
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at
    const match = pattern.exec(text)
    if (match === null) return undefined
    at = pattern.lastIndex
    return match
  }
  let current: Challenge | undefined
  while (at < text.length && challenges.length < MAX_CHALLENGES) {
    take(SEPARATORS)
    const param = take(PARAM)
    if (param) {
      const name = (param[1] ?? '').toLowerCase()
      const value = param[2] === undefined ? (param[3] ?? '') : param[2].replace(/\\(.)/g, '$1')
      if (current && !current.params.has(name)) current.params.set(name, value)
      continue
    }
    const scheme = take(TOKEN)?.[0]
    if (scheme === undefined) {
      // Not in the grammar: skip it.
      at++
      continue
    }
    current = { scheme: scheme.toLowerCase(), params: new Map() }
    challenges.push(current)
    const before = at
    take(SEPARATORS)
    // `Negotiate abc==`: a bare value belongs to the scheme before it, unless there is a comma between them.
    if (text.slice(before, at).includes(',') || take(TOKEN68) === undefined) at = before
  }
}
