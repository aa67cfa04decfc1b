import * as v from 'valibot'
import { AirgapError } from '../../errors.ts'
import { parseStrictJson } from '../../oci/json.ts'

/** The most that a token may have. Bytes. */
export const MAX_TOKEN = 64 * 1024

/** A token that ends sooner is of no use: the certificate is asked for with it after this. Seconds. */
const LEAST_LIFE = 5

/** The last second that JavaScript has a date for. */
const MAX_SECONDS = 8_640_000_000_000

const text = v.optional(v.string())
const Claims = v.object({
  iss: v.string(),
  sub: text,
  email: text,
  email_verified: v.optional(v.union([v.boolean(), v.string()])),
  aud: v.optional(v.union([v.string(), v.array(v.string())])),
  exp: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(MAX_SECONDS))),
  /** Of GitHub Actions: the workflow, as the certificate names it. */
  job_workflow_ref: text,
  /** Of GitLab: the same. */
  ci_config_ref_uri: text,
  /** Of Dex, behind which somebody else has said who that is. */
  federated_claims: v.optional(v.object({ connector_id: text })),
})

/** What an identity token (OpenID Connect Core 1.0 § 2) says. Nothing of it is verified here: Fulcio does that. */
export interface TokenClaims {
  issuer: string
  /** What the holder of the key signs to show that it is theirs: the e-mail address where there is one. */
  subject: string
  /** Whether that is an e-mail address. */
  isEmail: boolean
  audience: readonly string[]
  /** Milliseconds since 1970; undefined where it does not say. */
  expires: number | undefined
  /** What the certificate is known to name for these claims; undefined where that is not known. */
  expectedIdentity: string | undefined
  /** Whom the certificate may name as issuer. */
  expectedIssuers: readonly string[]
}

/**
 * Reads the claims of an identity token. The token is in no error.
 * @param source where it came from, for messages.
 * @throws AirgapError `CREDENTIALS`
 */
export function readClaims(token: string, source: string): TokenClaims {
  const payload = /^[\w-]+\.([\w-]+)\.[\w-]+$/.exec(token)?.[1]
  if (payload === undefined || token.length > MAX_TOKEN) {
    throw unusable(
      source,
      token === '' ? 'it is empty' : 'it does not have the form of one (JWT: three parts with dots)',
    )
  }
  const claims = parsed(payload)
  if (!claims) throw unusable(source, 'what it says cannot be read')
  const { iss: issuer, sub, email, aud = [], exp, federated_claims: federated } = claims
  const subject = email ?? sub
  if (subject === undefined || subject === '') throw unusable(source, 'it says nothing of a subject')
  if (email !== undefined && claims.email_verified !== true && claims.email_verified !== 'true') {
    throw unusable(source, 'its issuer has not verified the e-mail address in it')
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

/** What Fulcio puts into certificates of jobs (fulcio, docs/oidc.md). */
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
    // What parsers say of it may quote it.
    return undefined
  }
}

/**
 * Requires that a token is valid for a while still, and meant for those who are asked.
 * @param audience whom it has to be meant for, where that is known.
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
        hint: 'Such tokens live for minutes. Get a fresh one and run the same command again; a file is read again at the end, so that it may be renewed meanwhile.',
      },
    )
  }
  if (audience !== undefined && !claims.audience.includes(audience)) {
    const found = claims.audience.length === 0 ? 'nobody' : claims.audience.join(', ')
    throw new AirgapError(
      'CREDENTIALS',
      `the identity token ${source} is meant for ${found}, and has to be for ${audience} (claim aud)`,
      { hint: `Ask for a token with the audience ${audience}. GitLab: id_tokens with aud: ${audience}.` },
    )
  }
}

/** Whose token it is, as it says itself, for people. */
export function describeClaims({ issuer, subject }: TokenClaims): string {
  return `${subject}, issuer ${issuer}`
}

function unusable(source: string, reason: string): AirgapError {
  return new AirgapError('CREDENTIALS', `the identity token ${source} cannot be used: ${reason}`, {
    hint: 'An OpenID Connect identity token is needed, as CI systems give it to a job.',
  })
}
