import { createHash, generateKeyPairSync, sign, X509Certificate } from 'node:crypto'
import {
  bundleToJSON,
  toMessageSignatureBundle,
  type Bundle,
  type TransparencyLogEntry,
} from '@sigstore/bundle'
import { formatMoment } from '../../bundle/fields.ts'
import { AirgapError } from '../../errors.ts'
import type { Root } from '../identity/trusted-root.ts'
import { P256_ORDER } from '../key-kinds.ts'
import { lowS } from '../low-s.ts'
import { certifiedIdentity, checkIdentity, type CertifiedIdentity } from './certificate.ts'
import { checkResult, checkTimestamp, CLOCKS_DIFFER } from './check.ts'
import { requestCertificate, requestTimestamp } from './fulcio.ts'
import { checkClaims, readClaims, type TokenClaims } from './identity-token.ts'
import { checkLogEntry, writeLogEntry } from './rekor.ts'
import { serviceName, type AskService } from './service.ts'
import type { SigningServices } from './signing-config.ts'
import { spellCertificateBundle } from './spelling.ts'
import type { TokenSource } from './token-source.ts'

/** What a keyless signature is made with. */
export interface KeylessSigning {
  token: TokenSource
  /** Whom the token has to be meant for, where that is known. */
  audience: string | undefined
  services: SigningServices
  /** To check the result with; only what it says of itself is checked where there is none. */
  trustedRoot: Root | undefined
  ask: AskService
  /** Told whom the token names, just before that becomes public. */
  onPublish?: ((claims: TokenClaims) => void) | undefined
  /** Waits; milliseconds. */
  wait: (ms: number) => Promise<void>
}

/** A keyless signature, made and checked. */
export interface CertificateSignature extends CertifiedIdentity {
  /** As {@link spellCertificateBundle} spells it. */
  bundleJson: Buffer
  /** Where it is entered, for ever. */
  logEntries: LogEntryPlace[]
}

/** An entry of a transparency log. */
export interface LogEntryPlace {
  /** The log's. */
  url: string
  /** Decimal digits. */
  index: string
}

/**
 * Looks at the token before any work is done, where there is one already.
 * @returns what it says.
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
 * Signs `bytes` with a key that exists for this alone: Fulcio certifies whose it is, timestamp authorities say when it was
 * used, and at last Rekor enters it into its log. The certificate makes the identity public (it is logged, too), the entry
 * the SHA-256; neither can be taken back, so the entry comes when nothing else is left to fail.
 *
 * @throws AirgapError `CREDENTIALS` for the token, `CONTENT_MISMATCH`, `INVALID_CONTENT` and `VERIFICATION_FAILED` for
 *   answers that do not fit; those of {@link AskService}
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
    checkLogEntry(entry, { digest, signature, certificate }, log.url)
    entries.push(entry)
    logEntries.push({ url: log.url.href.replace(/\/$/, ''), index: entry.logIndex })
  }

  verificationMaterial.tlogEntries = entries
  const bundleJson = spelled(Buffer.from(JSON.stringify(bundleToJSON(bundle))))
  checkResult(bundleJson, bytes, identity, trustedRoot)
  return { bundleJson, logEntries, ...identity }
}

/** So long is waited until the clock of a timestamp authority has come to where Fulcio's was. Milliseconds. */
const MAX_BEHIND_MS = 10_000
const MAX_ATTEMPTS = 5

/**
 * Gets a timestamp that is not before the certificate. Fulcio's certificates are valid from the second in which they are
 * made, and readers allow for no difference between clocks: where the authority's is a moment behind, it is asked again.
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
        `${serviceName('the timestamp authority', url)} says that it is ${says}, and the certificate of Fulcio is valid from ${from} to ${to}`,
        { hint: `Nothing was written into the log. ${CLOCKS_DIFFER}` },
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
      `what the services have answered does not make a signature: ${error.message}`,
      { cause: error },
    )
  }
}
