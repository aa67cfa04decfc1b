import { createHash, type KeyObject, sign, X509Certificate } from 'node:crypto'
import * as v from 'valibot'
import { AirgapError } from '../../errors.ts'
import { checkShape, parseStrictJson } from '../../oci/json.ts'
import { AUDIENCE } from './token-source.ts'
import type { TokenClaims } from './identity-token.ts'
import { type AskService, below, serviceName } from './service.ts'

/** Maximum size of a timestamp with its certificates, in bytes. */
const TIMESTAMP_LIMIT = 64 * 1024

/**
 * A request for a timestamp over a SHA-256, in DER, before and after the hash (RFC 3161 § 2.4.1): version 1, the hash
 * and its algorithm, no nonce, and a request for the authority's certificate. The hash is of a new signature, so an
 * older answer cannot be replayed.
 */
const HEAD = Buffer.from('30390201013031300d060960864801650304020105000420', 'hex')
const TAIL = Buffer.from('0101ff', 'hex')

/**
 * Gets a timestamp for a signature from a timestamp authority (RFC 3161 § 3.4). The caller must check the answer.
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

/** Maximum size of a certificate with its chain, in bytes. */
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

/** ECDSA P-256 keys, which are used for one signature only. */
export interface EphemeralKeys {
  publicKey: KeyObject
  privateKey: KeyObject
}

/**
 * Gets a certificate for an ephemeral key (Fulcio's `POST /api/v2/signingCert`). Checks that it is for this key and
 * valid now. The caller must check whom it names.
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
        // Proof that we have the key: a signature over our subject.
        proofOfPossession: sign('sha256', Buffer.from(claims.subject), keys.privateKey).toString('base64'),
      },
    }),
    secrets: [token],
    answers: 'application/json',
    limit: LIMIT,
    hint: `Fulcio accepts tokens of known issuers with the audience ${AUDIENCE}; this one is from ${claims.issuer}, with the audience ${claims.audience.join(', ') || '(none)'}. Get a fresh one.`,
  })
  const what = `the answer of ${serviceName('Fulcio', base)}`
  const answer = checkShape(Answer, parseStrictJson(body, what), what)
  const chain = answer.signedCertificateEmbeddedSct ?? answer.signedCertificateDetachedSct
  const pem = chain?.chain.certificates[0]
  const certificate = pem === undefined ? undefined : parsed(pem)
  const fail = (reason: string): never => {
    throw new AirgapError('CONTENT_MISMATCH', `${what} ${reason}`, {
      hint: 'Nothing was signed with it. Check the URL of Fulcio, and proxies on the way.',
    })
  }
  if (!certificate) return fail('contains no certificate')
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
