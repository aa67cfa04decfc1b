import * as v from 'valibot'
import { AirgapError } from '../../errors.ts'
import { parseStrictJson } from '../../oci/json.ts'

/** Maximum size of a token, in bytes. */
export const MAX_TOKEN = 64 * 1024

/** A token must still be valid for this many seconds, because the certificate is requested with it later. */
const LEAST_LIFE = 5

/** The last second for which JavaScript has a date. */
const MAX_SECONDS = 8_640_000_000_000

const text = v.optional(v.string())
const Claims = v.object({
  iss: v.string(),
  sub: text,
  email: text,
  email_verified: v.optional(v.union([v.boolean(), v.string()])),
  aud: v.optional(v.union([v.string(), v.array(v.string())])),
  exp: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(MAX_SECONDS))),
  /** GitHub Actions: the workflow, as in the certificate. */
  job_workflow_ref: text,
  /** GitLab: the same. */
  ci_config_ref_uri: text,
  /** Dex: names the identity provider behind it. */
  federated_claims: v.optional(v.object({ connector_id: text })),
})

/** The claims of an identity token (OpenID Connect Core 1.0 § 2). They are not verified here; Fulcio does that. */
export interface TokenClaims {
  issuer: string
  /** What is signed to prove possession of the key: the e-mail address if there is one. */
  subject: string
  /** Whether that is an e-mail address. */
  isEmail: boolean
  audience: readonly string[]
  /** Milliseconds since 1970; undefined if the token does not say. */
  expires: number | undefined
  /** The identity that the certificate will name for these claims, if known. */
  expectedIdentity: string | undefined
  /** The issuers that the certificate may name. */
  expectedIssuers: readonly string[]
}

/**
 * Reads the claims of an identity token. Errors do not contain the token.
 * @param source where it comes from, for messages.
 * @throws AirgapError `CREDENTIALS`
 */
export function readClaims(token: string, source: string): TokenClaims {
  const payload = /^[\w-]+\.([\w-]+)\.[\w-]+$/.exec(token)?.[1]
  if (payload === undefined || token.length > MAX_TOKEN) {
    throw unusable(source, token === '' ? 'it is empty' : 'it is not a JWT (three parts separated by dots)')
  }
  const claims = parsed(payload)
  if (!claims) throw unusable(source, 'its claims cannot be read')
  const { iss: issuer, sub, email, aud = [], exp, federated_claims: federated } = claims
  const subject = email ?? sub
  if (subject === undefined || subject === '') throw unusable(source, 'it has no subject')
  if (email !== undefined && claims.email_verified !== true && claims.email_verified !== 'true') {
    throw unusable(source, 'its issuer has not verified its e-mail address')
  }
  const behind = federated?.connector_id
  return {
    issuer,
    subject,
    isEmail: email !== undefined,
    audience: typeof aud === 'string' ? [aud] : aud,
    expires: exp === undefined ? undefined : exp * 1000,
    expectedIdentity: email ?? workflow(issuer, claims),
    expectedIssuers: [issuer, ...(behind === undefined ? [] : [behind])],
  }
}

/** The identity that Fulcio puts into certificates of CI jobs (fulcio, docs/oidc.md). */
function workflow(
  issuer: string,
  { job_workflow_ref: github, ci_config_ref_uri: gitlab }: v.InferOutput<typeof Claims>,
): string | undefined {
  if (issuer === 'https://token.actions.githubusercontent.com' && github !== undefined) {
    return `https://github.com/${github}`
  }
  return issuer === 'https://gitlab.com' && gitlab !== undefined ? `https://${gitlab}` : undefined
}

function parsed(payload: string): v.InferOutput<typeof Claims> | undefined {
  try {
    return v.parse(Claims, parseStrictJson(Buffer.from(payload, 'base64url'), 'identity token'))
  } catch {
    // The parsers' errors may quote the token.
    return undefined
  }
}

/**
 * Requires that a token is still valid for a while, and has the right audience.
 * @param audience the expected audience, if known.
 * @param now milliseconds since 1970.
 * @throws AirgapError `CREDENTIALS`
 */
export function checkClaims(
  claims: TokenClaims,
  source: string,
  { audience, now }: { audience: string | undefined; now: number },
): void {
  const { expires } = claims
  if (expires !== undefined && expires < now + LEAST_LIFE * 1000) {
    throw new AirgapError(
      'CREDENTIALS',
      `the identity token ${source} has expired, at ${new Date(expires).toISOString()}: this machine's clock says ${new Date(now).toISOString()}`,
      {
        hint: 'Such tokens are valid for minutes. Get a fresh one and run the same command again. A token file is read again at the end, so it can be renewed meanwhile.',
      },
    )
  }
  if (audience !== undefined && !claims.audience.includes(audience)) {
    const found = claims.audience.length === 0 ? '(none)' : claims.audience.join(', ')
    throw new AirgapError(
      'CREDENTIALS',
      `the identity token ${source} has the audience ${found}, but needs ${audience} (claim aud)`,
      { hint: `Ask for a token with the audience ${audience}. GitLab: id_tokens with aud: ${audience}.` },
    )
  }
}

/** Subject and issuer of a token, for people. */
export function describeClaims({ issuer, subject }: TokenClaims): string {
  return `${subject}, issuer ${issuer}`
}

function unusable(source: string, reason: string): AirgapError {
  return new AirgapError('CREDENTIALS', `the identity token ${source} cannot be used: ${reason}`, {
    hint: 'An OpenID Connect identity token is needed, as CI systems give to jobs.',
  })
}
