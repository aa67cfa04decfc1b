import { createHash, generateKeyPairSync, sign, X509Certificate } from 'node:crypto'
import {
  bundleToJSON,
  toMessageSignatureBundle,
  type Bundle,
  type TransparencyLogEntry,
} from '@sigstore/bundle'
import { AirgapError } from '../../errors.ts'
import type { Root } from '../identity/trusted-root.ts'
import { P256_ORDER } from '../key-kinds.ts'
import { lowS } from '../low-s.ts'
import { certifiedIdentity, checkIdentity, type CertifiedIdentity } from './certificate.ts'
import { checkResult, checkTimestamp, CLOCKS_DIFFER } from './check.ts'
import { requestCertificate, requestTimestamp } from './fulcio.ts'
import { checkClaims, readClaims, type TokenClaims } from './identity-token.ts'
import { checkNewEntry, writeLogEntry } from './rekor.ts'
import { serviceName, type AskService } from './service.ts'
import type { SigningServices } from './signing-config.ts'
import { spellCertificateBundle } from './spelling.ts'
import type { TokenSource } from './token-source.ts'
import { formatMoment } from '../../bytes.ts'

/** Everything needed for a keyless signature. */
export interface KeylessSigning {
  token: TokenSource
  /** The required audience of the token, if known. */
  audience: string | undefined
  services: SigningServices
  /** To verify the result with. Without it, only the consistency of the result is checked. */
  trustedRoot: Root | undefined
  ask: AskService
  /** Called with whom the token names, just before that becomes public. */
  onPublish?: ((claims: TokenClaims) => void) | undefined
  /** Waits; milliseconds. */
  wait: (ms: number) => Promise<void>
}

/** A keyless signature that was made and checked. */
export interface CertificateSignature extends CertifiedIdentity {
  /** In the form of {@link spellCertificateBundle}. */
  bundleJson: Buffer
  /** Its permanent log entries. */
  logEntries: LogEntryPlace[]
}

/** An entry of a transparency log. */
export interface LogEntryPlace {
  /** URL of the log. */
  url: string
  /** Decimal digits. */
  index: string
}

/**
 * Checks the token before any work is done, if there already is one.
 * @returns its claims.
 * @throws AirgapError `CREDENTIALS`, `FILE`
 */
export async function peekAtToken({
  token,
  audience,
}: Pick<KeylessSigning, 'token' | 'audience'>): Promise<TokenClaims | undefined> {
  const text = await token.peek()
  if (text === undefined) return undefined
  const claims = readClaims(text, token.name)
  checkClaims(claims, token.name, { audience, now: Date.now() })
  return claims
}

/**
 * Signs `bytes` with an ephemeral key. Fulcio certifies its owner, timestamp authorities confirm the time, and finally
 * Rekor logs the signature. The certificate, which is logged too, makes the identity public, and the log entry the
 * SHA-256. Neither can be undone, so the log entry comes last.
 *
 * @throws AirgapError `CREDENTIALS` for the token; `CONTENT_MISMATCH`, `INVALID_CONTENT` and `VERIFICATION_FAILED` for
 *   wrong answers; those of {@link AskService}
 */
export async function signKeyless(bytes: Uint8Array, signing: KeylessSigning): Promise<CertificateSignature> {
  const { services, token: source, ask, trustedRoot, audience } = signing
  const token = await source.get(ask)
  const claims = readClaims(token, source.name)
  checkClaims(claims, source.name, { audience, now: Date.now() })

  signing.onPublish?.(claims)
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const certificate = await requestCertificate(ask, services.authority, {
    token,
    claims,
    keys,
    now: Date.now(),
  })
  const digest = createHash('sha256').update(bytes).digest()
  const signature = lowS(sign('sha256', bytes, keys.privateKey), P256_ORDER)
  const bundle = toMessageSignatureBundle({ digest, signature, certificate, certificateChain: false })
  const identity = certifiedIdentity(bundle, bytes)
  checkIdentity(identity, claims)

  const { verificationMaterial } = bundle
  const timestamps = await Promise.all(
    services.timestamps.map((url) => timestampFrom(url, { bundle, bytes, signature, certificate }, signing)),
  )
  verificationMaterial.timestampVerificationData = {
    rfc3161Timestamps: timestamps.map((signedTimestamp) => ({ signedTimestamp })),
  }
  const entries: TransparencyLogEntry[] = []
  const logEntries: LogEntryPlace[] = []
  for (const log of services.logs) {
    const entry = await writeLogEntry(ask, log, { digest, signature, certificate })
    checkNewEntry(entry, { digest, signature, certificate }, log.url)
    entries.push(entry)
    logEntries.push({ url: log.url.href.replace(/\/$/, ''), index: entry.logIndex })
  }

  verificationMaterial.tlogEntries = entries
  const bundleJson = spelled(Buffer.from(JSON.stringify(bundleToJSON(bundle))))
  checkResult(bundleJson, bytes, identity, trustedRoot)
  return { bundleJson, logEntries, ...identity }
}

/** How long to wait until the clock of a timestamp authority reaches Fulcio's time, in milliseconds. */
const MAX_BEHIND_MS = 10_000
const MAX_ATTEMPTS = 5

/**
 * Gets a timestamp that is not before the certificate. Fulcio's certificates are valid from the second in which they
 * are made, and verifiers allow no clock skew. So if the authority's clock is a moment behind, this waits and asks
 * again.
 *
 * @throws AirgapError `CONTENT_MISMATCH`; those of {@link AskService}
 */
async function timestampFrom(
  url: URL,
  made: { bundle: Bundle; bytes: Uint8Array; signature: Buffer; certificate: Buffer },
  { ask, wait }: KeylessSigning,
): Promise<Buffer> {
  const { validFrom, validTo } = new X509Certificate(made.certificate)
  let waited = 0
  for (let attempt = 1; ; attempt += 1) {
    const answer = await requestTimestamp(ask, url, made.signature)
    const time = checkTimestamp(answer, made.bundle, made.bytes)
    const behind = Date.parse(validFrom) - time
    if (behind <= 0 && time <= Date.parse(validTo)) return answer
    waited += behind
    if (behind <= 0 || waited > MAX_BEHIND_MS || attempt === MAX_ATTEMPTS) {
      const [says, from, to] = [time, Date.parse(validFrom), Date.parse(validTo)].map(formatMoment)
      throw new AirgapError(
        'CONTENT_MISMATCH',
        `${serviceName('the timestamp authority', url)} says that it is ${says}, but the certificate from Fulcio is valid from ${from} to ${to}`,
        { hint: `Nothing was written to the log. ${CLOCKS_DIFFER}` },
      )
    }
    await wait(behind)
  }
}

function spelled(json: Buffer): Buffer {
  try {
    return spellCertificateBundle(json)
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    throw new AirgapError(
      'INVALID_CONTENT',
      `the answers of the services do not give a valid signature: ${error.message}`,
      { cause: error },
    )
  }
}
