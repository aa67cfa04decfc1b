import { AirgapError, systemCode } from '../../errors.ts'
import { transportError } from './http-errors.ts'
import type { Context } from '../notices.ts'
import { markTransient, throwIfAborted, transienceOf } from './retry.ts'
import type { Proxy } from './proxies.ts'

/** How the proxy answered when it did not do as asked. */
export interface Refusal {
  status: number
  /** Its Proxy-Authenticate, if there is one. */
  challenge: string | undefined
}

/** What went wrong at the proxy, on the way from where it is seen to where it is put into words. */
export class ProxyFault extends Error {
  readonly proxy: Proxy
  readonly refusal: Refusal | undefined

  constructor(proxy: Proxy, cause: Error | Refusal) {
    const isError = cause instanceof Error
    super('the proxy', isError ? { cause } : {})
    this.proxy = proxy
    this.refusal = isError ? undefined : cause
  }
}

/** Ours, undici's for a proxy that forwards, or neither. */
function faultOf(error: unknown, proxy: Proxy): ProxyFault | undefined {
  if (error instanceof ProxyFault) return error
  const isRefused = error instanceof Error && error.message.startsWith('Proxy Authentication Required')
  return isRefused ? new ProxyFault(proxy, { status: 407, challenge: undefined }) : undefined
}

/**
 * Puts a fault of the proxy into words: `CREDENTIALS` for what it demands of the user, `TLS`, or `NETWORK`.
 * @param host the target, `HOST[:PORT]`.
 * @returns undefined for what is no fault of the proxy's.
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
  // A proxy that speaks no TLS waits for the end of what it takes for a request, or hangs up.
  if (
    !isSecure ||
    !/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|TIMEOUT|ETIMEDOUT|ECONNRESET|UND_ERR_SOCKET/.test(code)
  ) {
    if (transienceOf(failure)?.attempts === undefined) return failure
    return withHint(
      failure,
      `Look at host and port in ${proxy.from}, and whether the proxy runs and this machine may go there. Hosts that can be reached without it are named in NO_PROXY.`,
      cause,
    )
  }
  return withHint(
    failure,
    `Most proxies are spoken to in plain HTTP: see whether ${proxy.from} should begin with http://.`,
    cause,
  )
}

function withHint(failure: AirgapError, hint: string, cause: unknown): AirgapError {
  const replaced = new AirgapError(failure.code, failure.message, { hint, cause })
  const transience = transienceOf(failure)
  return transience === undefined ? replaced : markTransient(replaced, transience)
}

function refused(
  { status, challenge }: Refusal,
  proxy: Proxy,
  name: string,
  context: Context,
  host: string,
): AirgapError {
  const begin = `cannot ${context.operation}: ${name}`
  // tinyproxy answers 401 to a wrong password.
  if (status === 407 || status === 401) {
    const [reason, hint] = unauthorized(challenge, proxy)
    return new AirgapError('CREDENTIALS', `${begin} ${reason} (${status})`, { hint })
  }
  const message = `${begin} does not connect to ${host}: it answers ${status}`
  if (status === 403) {
    return new AirgapError('NETWORK', message, {
      hint: `Have ${host} allowed in the proxy; or name it in NO_PROXY, if it can be reached without.`,
    })
  }
  const error = new AirgapError('NETWORK', message, {
    hint:
      status >= 500
        ? `It may not know or reach ${host}: look at the name, or name it in NO_PROXY if it can be reached without.`
        : `See whether ${proxy.from} names a forward proxy, and its port.`,
  })
  return status >= 500 || status === 429 || status === 408 ? markTransient(error, { attempts: 3 }) : error
}

function unauthorized(challenge: string | undefined, proxy: Proxy): [reason: string, hint: string] {
  const schemes = schemesIn(challenge)
  if (schemes.length > 0 && !schemes.includes('basic')) {
    return [
      `asks who you are by ${schemes.join(' or ')}, and airgap can answer by Basic alone`,
      'Have this machine let through without, or run a local proxy that can do this and name that one.',
    ]
  }
  if (proxy.authorization === undefined) {
    return [
      'wants a user name and a password',
      `Write them into the variable: ${proxy.url.protocol}//USER:PASSWORD@${proxy.name}. Special characters are percent-encoded (@ is %40).`,
    ]
  }
  return [
    'does not accept the user name and password that are given for it',
    `Look at both in ${proxy.from}; special characters are percent-encoded there (@ is %40, % is %25).`,
  ]
}

/** The names of authentication schemes in a Proxy-Authenticate, as far as they look like names. */
function schemesIn(challenge: string | undefined): string[] {
  const found = (challenge ?? '').matchAll(/(?:^|,)\s*([a-z][a-z0-9-]{1,20})(?=\s|,|$)(?!\s*=)/gi)
  return [...new Set([...found].map(([, scheme = '']) => scheme.toLowerCase()))].slice(0, 5)
}
