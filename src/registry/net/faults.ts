import { existsSync } from 'node:fs'
import { AirgapError, systemCode } from '../../errors.ts'
import { isUnknownAuthority, presentedCertificates } from '../faults/certificate.ts'
import type { ConnectionFacts } from '../faults/transport.ts'
import { transportError } from './http-errors.ts'
import type { Context } from '../notices.ts'
import { markTransient, transienceOf } from './retry.ts'
import { proxyError } from './proxy-fault.ts'
import type { Way } from './ways.ts'

/** Where distributions keep the authorities that the machine trusts. */
const SYSTEM_ROOTS = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
]

/**
 * What a failed request means, with what there is to know of the way there: the proxy's part in it, what was trusted,
 * and where certificates belong.
 */
export async function wayError(
  error: unknown,
  way: Way,
  url: URL,
  context: Context,
  signal: AbortSignal | undefined,
  facts: ConnectionFacts,
): Promise<AirgapError> {
  const atProxy = way.proxy && proxyError(error, way.proxy, context, url.host, signal)
  if (atProxy) return atProxy
  // The second look goes directly, where a proxy may be the only way.
  const presented = way.proxy ? undefined : await presentedCertificates(error, url, way.lookup)
  const failure = transportError(error, context, url.host, signal, { ...facts, presented })
  const code = systemCode(failure.cause) ?? ''
  if (isUnknownAuthority(code)) return withHint(failure, trustHint(failure.hint, way))
  if (CERTIFICATE_ALERT.test(code) && way.trust.clientCertificate !== undefined) {
    return refusedCertificate(failure, way.trust.clientCertificate, url, context)
  }
  if (failure.code === 'NETWORK' && failure.hint !== undefined && way.whyDirect !== undefined) {
    return withHint(failure, `${failure.hint} ${way.whyDirect}`)
  }
  return failure
}

/** What a server says that does not like our certificate, or misses it (RFC 8446 § 6.2). */
const CERTIFICATE_ALERT = /ALERT_(?:BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA)$/

function refusedCertificate(failure: AirgapError, file: string, url: URL, context: Context): AirgapError {
  return new AirgapError(
    'TLS',
    `cannot ${context.operation}: ${url.host} does not accept the client certificate ${file}`,
    {
      hint: 'See whether it has expired, and whether the authority that has signed it is the one that the server asks for.',
      cause: failure.cause,
    },
  )
}

function trustHint(hint: string | undefined, { trust }: Way): string {
  const system = SYSTEM_ROOTS.find((path) => existsSync(path) && !trust.caFiles.includes(path))
  const added = system === undefined ? '' : ` SSL_CERT_FILE=${system} adds what this machine trusts.`
  return `${hint ?? ''}\nTrusted now: ${['the roots of Node.js', ...trust.caFiles].join(', ')}.${added}`
}

function withHint(error: AirgapError, hint: string): AirgapError {
  const { code, message, cause } = error
  const replaced = new AirgapError(code, message, { hint, cause })
  const transience = transienceOf(error)
  return transience === undefined ? replaced : markTransient(replaced, transience)
}
