import vm from 'node:vm'
import { AirgapError, systemCode } from '../../errors.ts'
import type { SignedByIdentity } from '../verified.ts'
import { revealed } from './revealed.ts'

/** Whom a certificate may name, and which issuer may vouch for it. Both are required. */
export interface Identity {
  identity: TextMatch
  issuer: TextMatch
}

/** A comparison with a whole text: exactly, or by a regular expression that must match all of it. */
export interface TextMatch {
  /** @throws AirgapError `USAGE` for a pattern that takes too long. */
  matches(text: string): boolean
  /** As the caller wrote it, for messages; a pattern is between slashes. */
  shown: string
}

/** Whom a certificate may name: identity and issuer, each once, exactly or as a pattern. Named as in cosign. */
export interface IdentityOptions {
  /** An e-mail address or a URI, compared character by character. */
  identity?: string | undefined
  /** A JavaScript regular expression (with the flag `u`) that must match the whole identity. */
  identityRegexp?: string | undefined
  /** The URL of the OpenID Connect issuer, compared character by character. */
  issuer?: string | undefined
  /** A JavaScript regular expression (with the flag `u`) that must match the whole issuer. */
  issuerRegexp?: string | undefined
}

/** @throws AirgapError `USAGE` unless identity and issuer are each given once, in one of the two forms. */
export function identityFrom(options: IdentityOptions): Identity {
  return {
    identity: oneOf(options.identity, options.identityRegexp, 'identity'),
    issuer: oneOf(options.issuer, options.issuerRegexp, 'issuer'),
  }
}

function oneOf(exact: string | undefined, pattern: string | undefined, what: string): TextMatch {
  if (exact !== undefined && pattern === undefined && exact !== '') return exactly(exact)
  if (pattern !== undefined && exact === undefined && pattern !== '') return fully(pattern, what)
  throw new AirgapError(
    'USAGE',
    `the ${what} of a certificate must be given once, exactly or as a pattern, and not empty`,
  )
}

export function exactly(text: string): TextMatch {
  return { matches: (other) => other === text, shown: text }
}

/** Milliseconds. A backtracking pattern can take forever on a malicious name. */
const PATIENCE = 1000
const MAX_PATTERN = 4096

/**
 * A JavaScript regular expression that must match the whole text, whatever alternatives, anchors and line ends it and
 * the text contain.
 *
 * @param patience milliseconds that one text may take.
 * @throws AirgapError `USAGE`
 */
export function fully(pattern: string, what: string, patience = PATIENCE): TextMatch {
  const shown = `/${pattern}/`
  if (pattern.length > MAX_PATTERN) {
    throw new AirgapError('USAGE', `the pattern of the ${what} is longer than ${MAX_PATTERN} characters`)
  }
  try {
    // Compiled alone first, because a closing parenthesis could end the group that anchors it.
    void new RegExp(pattern, 'u')
    const regexp = new RegExp(`^(?:${pattern})$`, 'u')
    return { matches: (text) => matchesInTime(regexp, text, patience, what, shown), shown }
  } catch (error) {
    throw new AirgapError('USAGE', `the pattern of the ${what} is not a regular expression: ${shown}`, {
      hint: String.raw`JavaScript's syntax is used: write a literal dot as \., quoted for the shell. (?i), \A and \z are not known: the pattern always matches the whole text, and [Aa] matches both cases.`,
      cause: error,
    })
  }
}

/** Creating a context takes longer than most patterns, so there is one for all. */
let room: vm.Context | undefined
const TEST = new vm.Script('regexp.test(text)')

function matchesInTime(regexp: RegExp, text: string, patience: number, what: string, shown: string): boolean {
  room = Object.assign(room ?? vm.createContext(), { regexp, text })
  for (let timeout = patience; ; timeout *= 2) {
    const before = process.cpuUsage()
    try {
      return TEST.runInContext(room, { timeout }) === true
    } catch (error) {
      // The timeout is wall-clock time. On a busy machine, the pattern may hardly have run.
      const { user, system } = process.cpuUsage(before)
      if (systemCode(error) === 'ERR_SCRIPT_EXECUTION_TIMEOUT' && (user + system) / 1000 < patience / 2)
        continue
      throw new AirgapError(
        'USAGE',
        `the pattern of the ${what} takes more than ${patience / 1000} s for a name of ${text.length} characters: ${shown}`,
        {
          hint: 'Nested repetitions such as (a+)+ cause this. If you can, give the exact name instead.',
          cause: error,
        },
      )
    }
  }
}

/**
 * Whether a verified signature is by one of the expected identities.
 * @returns undefined if it is; otherwise a clause about the signature, with whom it names and whom it should name.
 * @throws AirgapError `USAGE` for a pattern that takes too long.
 */
export function strangerReason(
  { identity, issuer }: SignedByIdentity,
  expected: readonly Identity[],
): string | undefined {
  const fits = expected.map((each) => ({
    each,
    identity: each.identity.matches(identity),
    issuer: each.issuer.matches(issuer),
  }))
  if (fits.some((fit) => fit.identity && fit.issuer)) return undefined
  const [by, vouching] = [revealed(identity), revealed(issuer)]
  const right = fits.find((fit) => fit.identity)
  if (right) {
    return `it was made by ${by}, as expected, but the issuer is ${vouching}, not ${right.each.issuer.shown}`
  }
  const wanted = expected.map((each) => `${each.identity.shown} (issuer ${each.issuer.shown})`)
  return `it was made by ${by} (issuer ${vouching}), not by ${wanted.join(' or ')}`
}
