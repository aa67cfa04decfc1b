import { shellWord } from '../../text.ts'
import { bareHost, portOf } from '../net/hosts.ts'
import { oneLine, quoted } from './quote.ts'
import { utcText } from './clock.ts'
import type { X509Certificate } from 'node:crypto'
import { isIP, type LookupFunction } from 'node:net'
import { connect } from 'node:tls'
import { systemCode } from '../../errors.ts'
import type { Hint, Hints } from '../../hints.ts'

/** The certificates that a peer presents: its own first, then those of the issuers. */
export type PresentedCertificates = readonly X509Certificate[]

const MAX_CHAIN = 10
const LOOK_TIMEOUT_MS = 5000

/** Node's codes for unknown CAs. */
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
 * Fetches the certificates that a peer presents, after they were refused: Node does not return refused certificates,
 * and the reader of the message has to compare them with the right ones. Nothing is sent.
 *
 * @returns undefined for another fault, or if the peer presents nothing more.
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
    // The first error is the one reported; this connection only adds details to it.
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

/** A name in a certificate on one line, the most specific part first: `CN=Example Root, O=Example`. */
function nameText(name: string): string {
  const parts = name.split('\n').filter((part) => part !== '')
  return oneLine(parts.toReversed().join(', '), 160)
}

/** Who signed the presented certificates: the issuer at the end of the chain. */
export function issuerText(presented: PresentedCertificates): string {
  const last = presented.at(-1)
  if (!last) return ''
  return last.issuer === last.subject && presented.length === 1
    ? `itself, ${quoted(nameText(last.issuer))}`
    : quoted(nameText(last.issuer))
}

interface TlsFault {
  cause: string
  hint?: Hints
}

/**
 * What a TLS error means, by Node's code for it.
 * @returns undefined for any other error.
 */
export function tlsFault(
  code: string,
  error: unknown,
  host: string,
  presented: PresentedCertificates | undefined,
): TlsFault | undefined {
  if (isUnknownAuthority(code)) return unknownAuthority(code, host, presented)
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') return wrongTime(code, presented)
  if (code === OTHER_NAME) return otherName(error, host)
  const reason = HANDSHAKE.find(({ codes }) => codes.test(code))
  if (reason) return { cause: `${reason.cause} (${code})`, hint: reason.hint(host) }
  if (/^(?:ERR_SSL_|ERR_TLS_|EPROTO$)/.test(code)) {
    return {
      cause: `TLS failed (${code})`,
      hint: `\`openssl s_client -connect ${shellWord(withPort(host))}\` shows the same from another program.`,
    }
  }
  if (/^(?:CERT_|UNABLE_TO_|INVALID_CA$|INVALID_PURPOSE$|PATH_LENGTH_|CRL_|EE_|CA_)/.test(code)) {
    return {
      cause: `its certificate is not accepted (${code})`,
      hint: `Have it issued again by current rules. \`openssl s_client -connect ${shellWord(withPort(host))} -showcerts\` shows what is presented.`,
    }
  }
  return undefined
}

/** A fingerprint is shown on two lines of this many characters, for narrow terminals. */
const HALF = 48

function unknownAuthority(
  code: string,
  host: string,
  presented: PresentedCertificates | undefined,
): TlsFault {
  const leaf = presented?.[0]
  const hint: Hint[] = [{ id: 'ca-file', host }]
  if (presented && leaf) {
    hint.push(
      `\nCompare this SHA-256 fingerprint of the certificate of ${host} with the one that its operator tells you:`,
      `\n  ${leaf.fingerprint256.slice(0, HALF)}`,
      `\n  ${leaf.fingerprint256.slice(HALF)}`,
    )
  }
  const isAlone = presented?.length === 1 && leaf?.issuer !== leaf?.subject
  if (isAlone || code === 'UNABLE_TO_VERIFY_LEAF_SIGNATURE') {
    hint.push(
      '\nIt only presents its own certificate: the one between it and the authority may be missing there.',
    )
  }
  const issuer = presented && leaf ? `, ${issuerText(presented)}` : ''
  return {
    cause: `its certificate is signed by an authority that is not trusted here${issuer} (${code})`,
    hint,
  }
}

function wrongTime(code: string, presented: PresentedCertificates | undefined): TlsFault {
  const now = Date.now()
  const isOver = code === 'CERT_HAS_EXPIRED'
  const faulty = presented?.find(({ validFromDate, validToDate }) =>
    isOver ? validToDate.getTime() < now : validFromDate.getTime() > now,
  )
  const which =
    faulty === undefined || faulty === presented?.[0]
      ? 'its certificate'
      : `the certificate of its authority, ${quoted(nameText(faulty.subject))},`
  const clock = faulty === undefined ? '' : `, and the clock of this machine says ${utcText(now)}`
  const check = 'check it with `date -u`, set it with `timedatectl` or chrony'
  if (isOver) {
    const when = faulty === undefined ? '' : ` on ${utcText(faulty.validToDate.getTime())}`
    return {
      cause: `${which} has expired${when}${clock} (${code})`,
      hint: `Have the certificate renewed. If the clock is wrong, ${check}.`,
    }
  }
  const when = faulty === undefined ? '' : ` before ${utcText(faulty.validFromDate.getTime())}`
  return {
    cause: `${which} is not valid${when === '' ? ' yet' : when}${clock} (${code})`,
    hint: `The clock of this machine is most likely wrong: ${check}.`,
  }
}

function otherName(error: unknown, host: string): TlsFault {
  const { cert } = error as { cert?: { subjectaltname?: unknown; subject?: { CN?: unknown } } }
  const names =
    typeof cert?.subjectaltname === 'string'
      ? oneLine(cert.subjectaltname.replaceAll(/(?:DNS|IP Address):/g, ''), 200)
      : ''
  const common = cert?.subject?.CN
  const name = bareHost(host.replace(/:[0-9]+$/, ''))
  const issued = `have one issued with ${name} as a subjectAltName`
  if (names !== '') {
    return {
      cause: `its certificate is for another name: it holds ${quoted(names)} (${OTHER_NAME})`,
      hint: `Use a name that the certificate holds (put it into /etc/hosts if DNS does not know it), or ${issued}.`,
    }
  }
  const old = typeof common === 'string' ? `, only the common name ${quoted(common, 80)}` : ''
  return {
    cause: `its certificate has no subjectAltName${old} (${OTHER_NAME})`,
    hint: `Common names no longer count: ${issued}. containerd, CRI-O and Docker on the nodes refuse this one, too.`,
  }
}

const OTHER_NAME = 'ERR_TLS_CERT_ALTNAME_INVALID'

export const CLIENT_CERTIFICATE = 'it wants a client certificate, and got none that it accepts'

export function clientCertificateHint(host: string): string {
  return `Have a certificate and its key issued for this machine, and put them where Docker and Podman also look for them: /etc/docker/certs.d/${host}/client.cert and client.key.`
}

/** OpenSSL's reasons, which become Node's codes. The names differ between OpenSSL releases. */
const HANDSHAKE: readonly { codes: RegExp; cause: string; hint: (host: string) => Hint }[] = [
  {
    codes: /^ERR_SSL_(?:WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|RECORD_LAYER_FAILURE)$/,
    cause: 'it does not speak TLS on this port',
    hint: (host) => ({ id: 'plain-http', host }),
  },
  {
    codes: /^ERR_SSL_.*ALERT_(?:BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA)$/,
    cause: CLIENT_CERTIFICATE,
    hint: clientCertificateHint,
  },
  {
    codes: /^ERR_SSL_.*(?:PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|VERSION_TOO_LOW|INSUFFICIENT_SECURITY)$/,
    cause: 'it speaks no version of TLS that is accepted here (1.2 and 1.3 are)',
    hint: (host) =>
      `Have TLS 1.2 or later enabled there. \`openssl s_client -connect ${shellWord(withPort(host))} -tls1_2\` shows whether it can.`,
  },
  {
    codes: /^ERR_SSL_.*(?:HANDSHAKE_FAILURE|NO_CIPHERS_AVAILABLE|NO_SHARED_CIPHER)$/,
    cause: 'it ended the TLS handshake: no cipher in common, or it wants a client certificate',
    hint: (host) => `${clientCertificateHint(host)} Otherwise its TLS settings are too old or too narrow.`,
  },
  {
    codes: /^ERR_SSL_.*UNRECOGNIZED_NAME$/,
    cause: 'it does not know the host name that it was contacted by',
    hint: () =>
      'Use the name that the server is set up for; an ingress or a load balancer answers like this for a host without a rule.',
  },
  {
    codes: /^ERR_SSL_.*(?:KEY_TOO_SMALL|MD_TOO_WEAK|LEGACY_RENEGOTIATION|LEGACY_SIGALG).*$/,
    cause: 'its TLS is too weak to be accepted here',
    hint: () =>
      'Have its certificate issued with a key of at least 2048 bits and SHA-256, and its TLS updated.',
  },
]

/** The host with a port, which openssl needs. */
function withPort(host: string): string {
  return /:[0-9]+$/.test(host) ? host : `${host}:443`
}
