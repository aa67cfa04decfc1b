import type { X509Certificate } from 'node:crypto'
import { isIP, type LookupFunction } from 'node:net'
import { connect } from 'node:tls'
import { systemCode } from '../../errors.ts'
import { bareHost, portOf } from '../net/hosts.ts'
import { oneLine, quoted } from './quote.ts'

/** What a peer shows as its certificates: its own first, then those that it says have signed it. */
export type PresentedCertificates = readonly X509Certificate[]

const MAX_CHAIN = 10
const LOOK_TIMEOUT_MS = 5000

/** Authorities that are not known here. */
const UNKNOWN_CA = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_UNTRUSTED',
])

export function isUnknownAuthority(code: string): boolean {
  return UNKNOWN_CA.has(code)
}

/**
 * Looks once more at the certificates that a peer shows, after they were refused: Node does not give away what it has
 * refused, and whoever reads the message has to compare it with what should be there. Nothing is sent.
 *
 * @returns undefined when the fault is another one, or the peer shows nothing more.
 */
export async function presentedCertificates(
  error: unknown,
  url: URL,
  lookup?: LookupFunction,
): Promise<PresentedCertificates | undefined> {
  const code = systemCode(error) ?? ''
  const isOfUse = isUnknownAuthority(code) || code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID'
  if (url.protocol !== 'https:' || !isOfUse) return undefined
  const host = bareHost(url.hostname)
  return new Promise((resolve) => {
    const socket = connect({
      host,
      port: Number(portOf(url)),
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...(lookup === undefined ? {} : { lookup }),
    })
    const settle = (found: PresentedCertificates | undefined): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(found)
    }
    const timer = setTimeout(() => settle(undefined), LOOK_TIMEOUT_MS)
    socket.once('secureConnect', () => settle(chainOf(socket.getPeerX509Certificate())))
    // It is the first fault that is told; this is only about what can be said beside it.
    socket.on('error', () => settle(undefined))
  })
}

function chainOf(leaf: X509Certificate | undefined): PresentedCertificates {
  const chain: X509Certificate[] = []
  const seen = new Set<string>()
  for (let next = leaf; next && chain.length < MAX_CHAIN && !seen.has(next.fingerprint256);) {
    seen.add(next.fingerprint256)
    chain.push(next)
    next = next.issuerCertificate
  }
  return chain
}

/** A name in a certificate on one line, most telling part first: `CN=Example Root, O=Example`. */
export function nameText(name: string): string {
  const parts = name.split('\n').filter((part) => part !== '')
  return oneLine(parts.toReversed().join(', '), 160)
}

/** Who has signed what was presented: the name at the end of the chain. */
export function issuerText(presented: PresentedCertificates): string {
  const last = presented.at(-1)
  if (!last) return ''
  return last.issuer === last.subject && presented.length === 1
    ? `itself, ${quoted(nameText(last.issuer))}`
    : quoted(nameText(last.issuer))
}
