import { createHash, type KeyObject, sign, X509Certificate } from 'node:crypto'
import * as v from 'valibot'
import { AirgapError } from '../../errors.ts'
import { checkShape, parseStrictJson } from '../../oci/json.ts'
import { AUDIENCE } from './token-source.ts'
import type { TokenClaims } from './identity-token.ts'
import { type AskService, below, serviceName } from './service.ts'

/** A timestamp with its certificates. Bytes. */
const TIMESTAMP_LIMIT = 64 * 1024

/**
 * A request for a timestamp over a SHA-256, in DER, in front of the hash and behind it (RFC 3161 § 2.4.1): version 1, the
 * hash and how it was made, no nonce, and the authority's certificate wanted in the answer. The hash is of a signature
 * that nobody has seen before, so that no older answer can be given again.
 */
const HEAD = Buffer.from('30390201013031300d060960864801650304020105000420', 'hex')
const TAIL = Buffer.from('0101ff', 'hex')

/**
 * Has a timestamp authority say when a signature was there (RFC 3161 § 3.4). What the answer says is looked at with
 * everything else.
 * @returns the answer (TimeStampResp), DER.
 * @throws AirgapError those of {@link AskService}
 */
export async function requestTimestamp(ask: AskService, url: URL, signature: Uint8Array): Promise<Buffer> {
  const { body } = await ask({
    service: 'the timestamp authority',
    operation: 'get a timestamp',
    method: 'POST',
    url,
    headers: { 'content-type': 'application/timestamp-query', accept: 'application/timestamp-reply' },
    body: Buffer.concat([HEAD, createHash('sha256').update(signature).digest(), TAIL]),
    answers: 'application/timestamp-reply',
    limit: TIMESTAMP_LIMIT,
  })
  return body
}

/** A certificate with its chain. Bytes. */
const LIMIT = 256 * 1024

const Chain = v.object({
  chain: v.object({
    certificates: v.pipe(v.array(v.string('PEM is expected')), v.minLength(1, 'it is empty')),
  }),
})
const Answer = v.object({
  signedCertificateEmbeddedSct: v.optional(Chain),
  signedCertificateDetachedSct: v.optional(Chain),
})

/** Of ECDSA P-256; they are forgotten when the signature is made. */
export interface EphemeralKeys {
  publicKey: KeyObject
  privateKey: KeyObject
}

/**
 * Gets a certificate for a key that lives as long as this signature (Fulcio's `POST /api/v2/signingCert`). What comes back
 * is for this very key and valid now; whose it says to be is the caller's to look at.
 *
 * @returns the certificate, DER.
 * @throws AirgapError `CONTENT_MISMATCH` for a certificate of something else; those of {@link AskService}
 */
export async function requestCertificate(
  ask: AskService,
  base: URL,
  { token, claims, keys, now }: { token: string; claims: TokenClaims; keys: EphemeralKeys; now: number },
): Promise<Buffer> {
  const { body } = await ask({
    service: 'Fulcio',
    operation: 'get a certificate',
    method: 'POST',
    url: below(base, '/api/v2/signingCert'),
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify({
      credentials: { oidcIdentityToken: token },
      publicKeyRequest: {
        publicKey: {
          algorithm: 'ECDSA',
          content: keys.publicKey.export({ type: 'spki', format: 'pem' }),
        },
        // That the key is ours: a signature over who we are.
        proofOfPossession: sign('sha256', Buffer.from(claims.subject), keys.privateKey).toString('base64'),
      },
    }),
    secrets: [token],
    answers: 'application/json',
    limit: LIMIT,
    hint: `Fulcio accepts tokens of the issuers that it knows, meant for ${AUDIENCE}; this one is of ${claims.issuer}, meant for ${claims.audience.join(', ') || 'nobody'}. Get a fresh one.`,
  })
  const what = `the answer of ${serviceName('Fulcio', base)}`
  const answer = checkShape(Answer, parseStrictJson(body, what), what)
  const chain = answer.signedCertificateEmbeddedSct ?? answer.signedCertificateDetachedSct
  const pem = chain?.chain.certificates[0]
  const certificate = pem === undefined ? undefined : parsed(pem)
  const fail = (reason: string): never => {
    throw new AirgapError('CONTENT_MISMATCH', `${what} ${reason}`, {
      hint: 'Nothing was signed with it. Look at the URL of Fulcio and at what stands in between.',
    })
  }
  if (!certificate) return fail('holds no certificate')
  if (!certificate.publicKey.equals(keys.publicKey)) return fail('is a certificate for another key')
  const skew = 60_000
  if (now < Date.parse(certificate.validFrom) - skew || now > Date.parse(certificate.validTo)) {
    return fail(
      `is a certificate that is not valid now (${new Date(now).toISOString()}), but from ${certificate.validFrom} to ${certificate.validTo}; is this machine's clock right?`,
    )
  }
  return certificate.raw
}

function parsed(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem)
  } catch {
    return undefined
  }
}
