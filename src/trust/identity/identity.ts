import { AirgapError } from '../../errors.ts'

/** Whom a certificate may name, and who may have vouched for it. Both are required. */
export interface Identity {
  identity: TextMatch
  issuer: TextMatch
}

/** A text, compared as a whole: exactly, or by a regular expression that has to fit from first to last. */
export interface TextMatch {
  matches(text: string): boolean
  /** As the caller wrote it, for messages. */
  shown: string
}

/** What the flags of cosign's names say. */
export interface IdentityOptions {
  identity?: string | undefined
  identityRegexp?: string | undefined
  issuer?: string | undefined
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

/**
 * A JavaScript regular expression that has to fit the whole text, whatever alternatives it has.
 * @throws AirgapError `USAGE`
 */
export function fully(pattern: string, what: string): TextMatch {
  try {
    // By itself first: a closing parenthesis could otherwise end the group that anchors it.
    void new RegExp(pattern, 'u')
    const regexp = new RegExp(`^(?:${pattern})$`, 'u')
    return { matches: (text) => regexp.test(text), shown: `/${pattern}/` }
  } catch (error) {
    throw new AirgapError('USAGE', `the pattern of the ${what} is no regular expression: ${pattern}`, {
      cause: error,
    })
  }
}
