import vm from 'node:vm'
import { AirgapError, systemCode } from '../../errors.ts'
import type { SignedByIdentity } from '../verified.ts'
import { revealed } from './revealed.ts'

/** Whom a certificate may name, and who may have vouched for it. Both are required. */
export interface Identity {
  identity: TextMatch
  issuer: TextMatch
}

/** A text, compared as a whole: exactly, or by a regular expression that has to fit from first to last. */
export interface TextMatch {
  /** @throws AirgapError `USAGE` for a pattern that takes too long. */
  matches(text: string): boolean
  /** As the caller wrote it, for messages; a pattern between slashes. */
  shown: string
}

/** Whom a certificate may name: each of the two once, exactly or as a pattern. In cosign's words. */
export interface IdentityOptions {
  /** An e-mail address or a URI, compared character by character. */
  identity?: string | undefined
  /** A JavaScript regular expression (with the flag `u`) that has to fit the whole. */
  identityRegexp?: string | undefined
  /** The URL of the OpenID Connect issuer, compared character by character. */
  issuer?: string | undefined
  /** A JavaScript regular expression (with the flag `u`) that has to fit the whole. */
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
    `the ${what} of a certificate has to be given once, exactly or as a pattern, and not empty`,
  )
}

export function exactly(text: string): TextMatch {
  return { matches: (other) => other === text, shown: text }
}

/** Milliseconds. A pattern that backtracks takes for ever on a name that somebody has made for it. */
const PATIENCE = 1000
const MAX_PATTERN = 4096

/**
 * A JavaScript regular expression that has to fit the whole text, whatever alternatives, anchors and line ends it and the
 * text have.
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
    // By itself first: a closing parenthesis could otherwise end the group that anchors it.
    void new RegExp(pattern, 'u')
    const regexp = new RegExp(`^(?:${pattern})$`, 'u')
    return { matches: (text) => matchesInTime(regexp, text, patience, what, shown), shown }
  } catch (error) {
    throw new AirgapError('USAGE', `the pattern of the ${what} is no regular expression: ${shown}`, {
      hint: String.raw`It is JavaScript's kind: a dot that means a dot is \. and has to be quoted for the shell. (?i) and \A, \z of other kinds are not known; it fits the whole by itself, and [Aa] stands for both cases.`,
      cause: error,
    })
  }
}

/** Making a context takes longer than most patterns do, so there is one for all. */
let room: vm.Context | undefined
const TEST = new vm.Script('regexp.test(text)')

function matchesInTime(regexp: RegExp, text: string, patience: number, what: string, shown: string): boolean {
  room = Object.assign(room ?? vm.createContext(), { regexp, text })
  for (let timeout = patience; ; timeout *= 2) {
    const before = process.cpuUsage()
    try {
      return TEST.runInContext(room, { timeout }) === true
    } catch (error) {
      // The limit is the clock's. On a machine that had other things to do, the pattern may hardly have run.
      const { user, system } = process.cpuUsage(before)
      if (systemCode(error) === 'ERR_SCRIPT_EXECUTION_TIMEOUT' && (user + system) / 1000 < patience / 2)
        continue
      throw new AirgapError(
        'USAGE',
        `the pattern of the ${what} takes more than ${patience / 1000} s on a name of ${text.length} characters: ${shown}`,
        {
          hint: 'Repetitions within repetitions do that, as in (a+)+. Give the name itself if you can.',
          cause: error,
        },
      )
    }
  }
}

/**
 * Whether a verified signature is by one of those expected.
 * @returns nothing when it is; else a clause about the signature that says whom it names and whom it should.
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
    return `it was made by ${by}, as expected, but ${vouching} has vouched for that name, and not ${right.each.issuer.shown}`
  }
  const wanted = expected.map((each) => `${each.identity.shown} (issuer ${each.issuer.shown})`)
  return `it was made by ${by} (issuer ${vouching}), and expected is ${wanted.join(' or ')}`
}
