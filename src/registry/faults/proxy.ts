import { messageOf, systemCode } from '../../errors.ts'

/** The proxy that a request went through. */
export interface ProxyInUse {
  url: URL
  /** The environment variable that named it, as it is written there. */
  variable: string
}

/** Where in the environment hosts are listed that are reached without a proxy. */
const EXCEPTIONS = 'NO_PROXY'

const CONNECT_FAULTS: Record<string, string> = {
  ENOTFOUND: 'its host name is not known (DNS, ENOTFOUND)',
  EAI_AGAIN: 'its host name could not be looked up just now (DNS, EAI_AGAIN)',
  ECONNREFUSED: 'nothing listens there (connection refused, ECONNREFUSED)',
  EHOSTUNREACH: 'there is no way to it from here (EHOSTUNREACH)',
  ENETUNREACH: 'there is no way to it from here (ENETUNREACH)',
  ETIMEDOUT: 'no connection came about (ETIMEDOUT)',
  UND_ERR_CONNECT_TIMEOUT: 'no connection came about (UND_ERR_CONNECT_TIMEOUT)',
}

/** A proxy's address as messages show it: no user, no password. */
export function proxyText({ url, variable }: ProxyInUse): string {
  return `the proxy ${url.protocol}//${url.host} (${variable})`
}

/**
 * What a failure means of a request that went through a proxy, where it is the proxy's: it cannot be reached itself,
 * or it does not open the way (CONNECT, RFC 9110 § 9.3.6). A client behind a proxy looks up no name and opens no
 * connection but the proxy's.
 *
 * @returns undefined when the proxy has done its part.
 */
export function proxyFault(
  error: unknown,
  proxy: ProxyInUse,
  host: string,
): { cause: string; hint: string; isLasting: boolean } | undefined {
  const status = refusedStatus(error)
  if (status !== undefined) return refusal(status, proxy, host)
  const reason = CONNECT_FAULTS[systemCode(error) ?? '']
  if (reason === undefined) return undefined
  return {
    cause: `${proxyText(proxy)}, through which ${host} is reached, cannot be reached itself: ${reason}`,
    hint: `Check what ${proxy.variable} holds. If ${host} is to be reached without a proxy, list it in ${EXCEPTIONS}.`,
    isLasting: false,
  }
}

/** undici tells the proxy's answer in its message alone. */
function refusedStatus(error: unknown): number | undefined {
  const text = /^Proxy response \(([0-9]{3})\)|^Proxy Authentication Required \(([0-9]{3})\)/.exec(
    messageOf(error),
  )
  const status = text?.[1] ?? text?.[2]
  return status === undefined ? undefined : Number(status)
}

function refusal(
  status: number,
  proxy: ProxyInUse,
  host: string,
): { cause: string; hint: string; isLasting: boolean } {
  const said = `(it answers ${status} to CONNECT ${host})`
  if (status === 407) {
    return {
      cause: `${proxyText(proxy)} wants a user name and password, or does not accept those given ${said}`,
      hint: `Put them into the variable, with special characters percent-encoded: ${proxy.variable}=http://USER:PASSWORD@${proxy.url.host}`,
      isLasting: true,
    }
  }
  if (status >= 500) {
    return {
      cause: `${proxyText(proxy)} does not get through to ${host} ${said}`,
      hint: `The proxy does not know the name, or has no way there. A host inside is reached without it: ${EXCEPTIONS}=${nameOf(host)}`,
      isLasting: false,
    }
  }
  return {
    cause: `${proxyText(proxy)} does not allow connections to ${host} ${said}`,
    hint: `Have whoever runs the proxy allow ${host}, its token service and the hosts that its layers come from. A host inside is reached without it: ${EXCEPTIONS}=${nameOf(host)}`,
    isLasting: true,
  }
}

function nameOf(host: string): string {
  return host.replace(/:[0-9]+$/, '')
}
