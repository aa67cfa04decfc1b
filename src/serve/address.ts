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
 * Reads `HOST:PORT`; an empty host is every address of this machine, an IPv6 address stands in brackets.
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
      `${JSON.stringify(text)} is no address to listen on: it has to be HOST:PORT`,
      {
        hint: 'For example 127.0.0.1:5000, 0.0.0.0:5000 for every address of this machine, or [::1]:5000.',
      },
    )
  }
  return { host: bareHost(host), port }
}

/** @throws AirgapError `USAGE` when other machines could listen in and change what is sent. */
export function requireSafe({ host }: ListenAddress, { isTls, isPlainAllowed }: SafetyOptions): void {
  if (isTls || isPlainAllowed || isLoopbackHost(host)) return
  throw new AirgapError(
    'USAGE',
    `plain HTTP on ${host} would be open to the network: anybody on the way could read it and change tags`,
    {
      hint: ['Use TLS; or, in a network where that is all right, allow plain HTTP.', { id: 'serve-tls' }],
    },
  )
}

interface SafetyOptions {
  isTls: boolean
  isPlainAllowed: boolean
}

/** Every address of the machine is no address that a node could be told. */
export function isWildcard(host: string): boolean {
  return /^(?:0+(?:\.0+){3}|[0:]+)$/.test(host)
}

/**
 * The host and port that nodes are told, where nobody has said it: the address that is listened on; for a wildcard
 * the first name of the certificate, else this machine's name.
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
 * Tells the names by which clients may call the server: loopback, the address that is listened on, what nodes are told,
 * and what its certificate is for. Where it listens on all addresses, any address: only a name can be made to lead
 * elsewhere.
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

/** @throws AirgapError `TLS` for what is no certificate, or one that is not valid today or for no name. */
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
        hint: 'No client would accept it. Get a new one; or set the clock of this machine, if that is wrong.',
      },
    )
  }
  if (certificate.subjectAltName === undefined) {
    throw new AirgapError('TLS', `the certificate ${file} holds no subjectAltName`, {
      hint: 'Nodes do not look at common names any more. Have it issued with the name or address that they use.',
    })
  }
  return certificate
}
