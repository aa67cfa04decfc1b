import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { AirgapError, messageOf } from '../errors.ts'
import { isRegistryHost } from '../oci/reference.ts'
import { utcText } from '../registry/faults/clock.ts'
import { bareHost, hostOf, isLoopbackHost } from '../registry/net/hosts.ts'
import { isFor } from '../registry/net/tls.ts'

/** Where to listen. */
export interface ListenAddress {
  /** Name or address, without brackets. */
  host: string
  port: number
}

/**
 * Parses `HOST:PORT`. An empty host means every address of this machine; an IPv6 address is in brackets.
 * @throws AirgapError `USAGE`
 */
export function parseListen(text: string): ListenAddress {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]*):(\d{1,5})$/.exec(text)
  const host = match?.[1] === '' ? '0.0.0.0' : (match?.[1] ?? '')
  const port = Number(match?.[2])
  const isHost = isRegistryHost(host) || /^\[[0-9a-fA-F:.]+\]$/.test(host)
  if (!match || !isHost || port > 65535) {
    throw new AirgapError(
      'USAGE',
      `${JSON.stringify(text)} is not an address to listen on: it has to be HOST:PORT`,
      {
        hint: 'For example 127.0.0.1:5000, 0.0.0.0:5000 for every address of this machine, or [::1]:5000.',
      },
    )
  }
  return { host: bareHost(host), port }
}

/** @throws AirgapError `USAGE` if the address is open to other machines in plain HTTP, and this was not allowed. */
export function requireSafe({ host }: ListenAddress, { isTls, isPlainAllowed }: SafetyOptions): void {
  if (isTls || isPlainAllowed || isLoopbackHost(host)) return
  throw new AirgapError(
    'USAGE',
    `plain HTTP on ${host} would be open to the network: anybody on the way could read the traffic and change tags`,
    {
      hint: ['Use TLS, or allow plain HTTP if you trust the network.', { id: 'serve-tls' }],
    },
  )
}

interface SafetyOptions {
  isTls: boolean
  isPlainAllowed: boolean
}

/** Whether a host means every address of the machine, so that nodes cannot use it. */
export function isWildcard(host: string): boolean {
  return /^(?:0+(?:\.0+){3}|[0:]+)$/.test(host)
}

/**
 * The default host and port for nodes: the address that the server listens on; for a wildcard, the first name in the
 * certificate, else this machine's name.
 */
export function reachableHost(address: ListenAddress, certificate: X509Certificate | undefined): string {
  const bracketed = address.host.includes(':') ? `[${address.host}]` : address.host
  if (!isWildcard(address.host)) return `${bracketed}:${address.port}`
  const names = certificate?.subjectAltName
    ?.split(', ')
    .map((name) => name.replace(/^(?:DNS|IP Address):/, ''))
  const name = names?.find((text) => isRegistryHost(text) && !isLoopbackHost(text))
  return `${name ?? hostname()}:${address.port}`
}

/**
 * The host names that clients may use for the server: loopback, the address that it listens on, the advertised host, and
 * the names in its certificate. If it listens on all addresses, any IP address, because DNS rebinding needs a name.
 *
 * @param advertised `HOST` or `HOST:PORT`.
 */
export function ownNames(
  { host }: ListenAddress,
  advertised: string | undefined,
  certificate: X509Certificate | undefined,
): (hostname: string) => boolean {
  const names = new Set([host, ...(isWildcard(host) ? [hostname()] : [])].map((name) => name.toLowerCase()))
  if (advertised !== undefined) names.add(hostOf(advertised))
  return (name) =>
    isLoopbackHost(name) ||
    names.has(name) ||
    (isIP(name) !== 0 && isWildcard(host)) ||
    (certificate !== undefined && isFor(certificate, name))
}

/**
 * Reads the server's certificate.
 * @param now milliseconds since 1970.
 * @throws AirgapError `TLS` if it is not a certificate, is not valid now, or has no subjectAltName.
 */
export function readCertificate(pem: Buffer, file: string, now: number): X509Certificate {
  let certificate: X509Certificate
  try {
    certificate = new X509Certificate(pem)
  } catch (error) {
    throw new AirgapError('TLS', `${file} is not a certificate in PEM: ${messageOf(error)}`, { cause: error })
  }
  const isEarly = now < Date.parse(certificate.validFrom)
  if (isEarly || now > Date.parse(certificate.validTo)) {
    const [when, words] = isEarly
      ? [certificate.validFrom, 'is not valid before']
      : [certificate.validTo, 'has expired on']
    throw new AirgapError(
      'TLS',
      `the certificate ${file} ${words} ${when}, and the clock of this machine says ${utcText(now)}`,
      {
        hint: "No client would accept it. Get a new certificate, or set this machine's clock if it is wrong.",
      },
    )
  }
  if (certificate.subjectAltName === undefined) {
    throw new AirgapError('TLS', `the certificate ${file} has no subjectAltName`, {
      hint: 'Clients ignore common names. Get a certificate with the name or address that the nodes use.',
    })
  }
  return certificate
}
