import { AirgapError, systemCode, transienceOf } from '../../errors.ts'
import { transportError } from '../faults/transport.ts'
import { during, type Context } from '../notices.ts'
import { throwIfAborted } from './retry.ts'
import { ProxyFault, type Proxy, type Refusal } from './proxies.ts'
import { existsSync } from 'node:fs'
import { isUnknownAuthority, presentedCertificates } from '../faults/tls.ts'
import type { ConnectionFacts } from '../faults/transport.ts'
import type { Route } from './routes.ts'

/** Where distributions keep the CAs that the machine trusts. */
const SYSTEM_ROOTS = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
]

/**
 * The error for a failed request, with what is known of the route: the proxy's part in it, which CAs were trusted, and
 * where certificates belong.
 */
export async function routeError(
  error: unknown,
  route: Route,
  url: URL,
  context: Context,
  signal: AbortSignal | undefined,
  facts: ConnectionFacts,
): Promise<AirgapError> {
  const atProxy = route.proxy && proxyError(error, route.proxy, context, url.host, signal)
  if (atProxy) return atProxy
  // The certificate is fetched again directly; behind a proxy that may be impossible.
  const presented = route.proxy ? undefined : await presentedCertificates(error, url, route.lookup)
  const failure = transportError(error, context, url.host, signal, { ...facts, presented })
  const code = systemCode(failure.cause) ?? ''
  if (isUnknownAuthority(code)) return failure.with({ hint: [...failure.hints, trusted(route)] })
  if (CERTIFICATE_ALERT.test(code) && route.trust.clientCertificate !== undefined) {
    return refusedCertificate(failure, route.trust.clientCertificate, url, context)
  }
  if (failure.code === 'NETWORK' && failure.hints.length > 0 && route.whyDirect !== undefined) {
    return failure.with({ hint: [...failure.hints, route.whyDirect] })
  }
  return failure
}

/** A server's alert that it rejects or misses our certificate (RFC 8446 § 6.2). */
const CERTIFICATE_ALERT = /ALERT_(?:BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA)$/

function refusedCertificate(failure: AirgapError, file: string, url: URL, context: Context): AirgapError {
  return new AirgapError('TLS', `${url.host} does not accept the client certificate ${file}`, {
    ...during(context),
    hint: 'Check whether it has expired, and whether the server trusts the CA that issued it.',
    cause: failure.cause,
  })
}

/** Which CAs are trusted, on a line of its own. */
function trusted({ trust }: Route): string {
  const system = SYSTEM_ROOTS.find((path) => existsSync(path) && !trust.caFiles.includes(path))
  const added = system === undefined ? '' : ` SSL_CERT_FILE=${system} adds the CAs that this machine trusts.`
  return `\nTrusted now: ${['the roots of Node.js', ...trust.caFiles].join(', ')}.${added}`
}

/** Our own error, or undici's for a proxy that forwards, or neither. */
function faultOf(error: unknown, proxy: Proxy): ProxyFault | undefined {
  if (error instanceof ProxyFault) return error
  const isRefused = error instanceof Error && error.message.startsWith('Proxy Authentication Required')
  return isRefused ? new ProxyFault(proxy, { status: 407, challenge: undefined }) : undefined
}

/**
 * Turns a failure at the proxy into an error: `CREDENTIALS` when it demands something of the user, `TLS`, or `NETWORK`.
 * @param host the target, `HOST[:PORT]`.
 * @returns undefined where the proxy is not at fault.
 */
export function proxyError(
  error: unknown,
  proxy: Proxy,
  context: Context,
  host: string,
  signal: AbortSignal | undefined,
): AirgapError | undefined {
  const fault = faultOf(error, proxy)
  if (fault === undefined) return undefined
  throwIfAborted(signal, context)
  const name = `the proxy ${proxy.name} from ${proxy.from}`
  const { refusal, cause } = fault
  if (refusal !== undefined) return refused(refusal, proxy, name, context, host)
  const failure = transportError(cause, context, name, signal)
  const isSecure = proxy.url.protocol === 'https:'
  const code = systemCode(cause) ?? ''
  // A proxy that does not speak TLS waits for the end of what it takes for a request, or hangs up.
  if (
    !isSecure ||
    !/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|TIMEOUT|ETIMEDOUT|ECONNRESET|UND_ERR_SOCKET/.test(code)
  ) {
    if (transienceOf(failure)?.attempts === undefined) return failure
    return failure.with({
      hint: `Check host and port in ${proxy.from}, that the proxy runs, and that this machine may connect to it. Hosts that can be reached without it go into NO_PROXY.`,
      cause,
    })
  }
  return failure.with({
    hint: `Most proxies are reached by plain HTTP: check whether ${proxy.from} should begin with http://.`,
    cause,
  })
}

function refused(
  { status, challenge }: Refusal,
  proxy: Proxy,
  name: string,
  context: Context,
  host: string,
): AirgapError {
  const begin = name
  // tinyproxy answers 401 to a wrong password.
  if (status === 407 || status === 401) {
    const [reason, hint] = unauthorized(challenge, proxy)
    return new AirgapError('CREDENTIALS', `${begin} ${reason} (${status})`, {
      ...during(context),
      hint,
    })
  }
  const message = `${begin} does not connect to ${host}: it answers ${status}`
  if (status === 403) {
    return new AirgapError('NETWORK', message, {
      ...during(context),
      hint: `Have ${host} allowed in the proxy, or name it in NO_PROXY if it can be reached without the proxy.`,
    })
  }
  const error = new AirgapError('NETWORK', message, {
    ...during(context),
    hint:
      status >= 500
        ? `The proxy may not know or reach ${host}: check the name, or put it into NO_PROXY if it can be reached without the proxy.`
        : `Check that ${proxy.from} names a forward proxy, with the right port.`,
  })
  return status >= 500 || status === 429 || status === 408
    ? error.with({ transience: { attempts: 3 } })
    : error
}

function unauthorized(challenge: string | undefined, proxy: Proxy): [reason: string, hint: string] {
  const schemes = schemesIn(challenge)
  if (schemes.length > 0 && !schemes.includes('basic')) {
    return [
      `asks for authentication by ${schemes.join(' or ')}, and airgap only supports Basic`,
      'Have this machine allowed without authentication, or run a local proxy that can do this and name that one.',
    ]
  }
  if (proxy.authorization === undefined) {
    return [
      'wants a user name and a password',
      `Put them into the variable: ${proxy.url.protocol}//USER:PASSWORD@${proxy.name}. Special characters are percent-encoded (@ is %40).`,
    ]
  }
  return [
    'does not accept the user name and password given for it',
    `Check both in ${proxy.from}; special characters are percent-encoded there (@ is %40, % is %25).`,
  ]
}

/** The authentication schemes in a Proxy-Authenticate header, where they look like scheme names. */
function schemesIn(challenge: string | undefined): string[] {
  const found = (challenge ?? '').matchAll(/(?:^|,)\s*([a-z][a-z0-9-]{1,20})(?=\s|,|$)(?!\s*=)/gi)
  return [...new Set([...found].map(([, scheme = '']) => scheme.toLowerCase()))].slice(0, 5)
}
