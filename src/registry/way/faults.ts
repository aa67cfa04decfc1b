import { existsSync } from 'node:fs'
import { AirgapError, systemCode } from '../../errors.ts'
import { transportError, UNKNOWN_CA } from '../http-errors.ts'
import type { Context } from '../notices.ts'
import { markTransient, transienceOf } from '../retry.ts'
import { folderNames } from './certs-folders.ts'
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
export function wayError(
  error: unknown,
  way: Way,
  url: URL,
  context: Context,
  signal: AbortSignal | undefined,
): AirgapError {
  const atProxy = way.proxy && proxyError(error, way.proxy, context, url.host, signal)
  if (atProxy) return atProxy
  const failure = transportError(error, context, url.host, signal)
  const code = systemCode(failure.cause) ?? ''
  if (UNKNOWN_CA.has(code)) return withHint(failure, trustHint(failure.hint, way, url))
  if (CERTIFICATE_ALERT.test(code)) return clientCertificateError(failure, way, url, context)
  if (failure.code === 'NETWORK' && failure.hint !== undefined && way.whyDirect !== undefined) {
    return withHint(failure, `${failure.hint} ${way.whyDirect}`)
  }
  return failure
}

/** What a server says that does not like our certificate, or misses it (RFC 8446 § 6.2). */
const CERTIFICATE_ALERT = /ALERT_(?:BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA)$/

function clientCertificateError(failure: AirgapError, way: Way, url: URL, context: Context): AirgapError {
  const { clientCertificate } = way.trust
  const begin = `cannot ${context.operation}: ${url.host}`
  if (clientCertificate === undefined) {
    return new AirgapError('TLS', `${begin} wants a client certificate, and there is none for it`, {
      hint: `Put it into ${folderFor(url)}/client.cert, and its private key into client.key beside it.`,
      cause: failure.cause,
    })
  }
  return new AirgapError('TLS', `${begin} does not accept the client certificate ${clientCertificate}`, {
    hint: 'See whether it has expired, and whether the authority that has signed it is the one that the server asks for.',
    cause: failure.cause,
  })
}

function trustHint(hint: string | undefined, { trust }: Way, url: URL): string {
  const system = SYSTEM_ROOTS.find((path) => existsSync(path) && !trust.caFiles.includes(path))
  return [
    hint,
    `To trust it for this host alone, put it into ${folderFor(url)}/ca.crt.`,
    ...(system === undefined ? [] : [`SSL_CERT_FILE=${system} adds what this machine trusts.`]),
    `Trusted now: ${['the roots of Node.js', ...trust.caFiles].join(', ')}.`,
  ].join(' ')
}

/** The folder that Docker and Podman both read. */
function folderFor(url: URL): string {
  return `/etc/docker/certs.d/${folderNames(url)[0] ?? url.host}`
}

function withHint(error: AirgapError, hint: string): AirgapError {
  const { code, message, cause } = error
  const replaced = new AirgapError(code, message, { hint, cause })
  const transience = transienceOf(error)
  return transience === undefined ? replaced : markTransient(replaced, transience)
}
