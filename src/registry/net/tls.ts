import { X509Certificate } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { isIP } from 'node:net'
import type { PeerCertificate } from 'node:tls'
import { AirgapError, fileError } from '../../errors.ts'

const MAX_CA_FILE = 4 * 1024 * 1024
const PEM_BLOCK = /-----BEGIN (?:TRUSTED )?CERTIFICATE-----[\s\S]*?-----END (?:TRUSTED )?CERTIFICATE-----/g

/**
 * Reads the certificates of a PEM file.
 * @param variable the environment variable that names it, for messages.
 * @throws AirgapError `FILE` when it cannot be read, holds no certificate, or holds a damaged one.
 */
export function readCaFile(path: string, variable?: string): string[] {
  const name = variable === undefined ? path : `${path} (${variable})`
  let text: string
  try {
    text = readCapped(path, name)
  } catch (error) {
    throw fileError(error, 'read the CA file', name)
  }
  return parseCertificates(text, name)
}

/** Counts while it reads, so that a pipe (`<(…)`) works as well as a file. */
function readCapped(path: string, name: string): string {
  const file = openSync(path, 'r')
  try {
    if (fstatSync(file).isDirectory()) throw Object.assign(new Error('a folder'), { code: 'EISDIR' })
    const chunks: Buffer[] = []
    for (let total = 0; ;) {
      const chunk = Buffer.alloc(64 * 1024)
      const length = readSync(file, chunk)
      if (length === 0) return Buffer.concat(chunks).toString('latin1')
      chunks.push(chunk.subarray(0, length))
      total += length
      if (total > MAX_CA_FILE) {
        throw new AirgapError(
          'FILE',
          `cannot use the CA file ${name}: it is larger than ${MAX_CA_FILE} bytes`,
        )
      }
    }
  } finally {
    closeSync(file)
  }
}

/**
 * The certificates in the text of a PEM file, one by one.
 * @param name for messages.
 * @throws AirgapError `FILE` when there are none, or one is damaged.
 */
export function parseCertificates(text: string, name: string): string[] {
  const blocks = text.match(PEM_BLOCK) ?? []
  if (blocks.length === 0) {
    throw new AirgapError('FILE', `cannot use the CA file ${name}: it holds no PEM certificate`, {
      hint: 'The file must hold lines "-----BEGIN CERTIFICATE-----". Convert DER with: openssl x509 -inform der -in FILE -out ca.pem',
    })
  }
  // A file cut off in the middle of a certificate was meant to hold more.
  const begun = text.match(/-----BEGIN (?:TRUSTED )?CERTIFICATE-----/g) ?? []
  if (begun.length !== blocks.length) {
    throw new AirgapError('FILE', `cannot use the CA file ${name}: it ends within a certificate`)
  }
  for (const [i, block] of blocks.entries()) {
    try {
      void new X509Certificate(block)
    } catch (error) {
      throw new AirgapError('FILE', `cannot use the CA file ${name}: certificate ${i + 1} is damaged`, {
        cause: error,
      })
    }
  }
  return blocks
}

/**
 * Whether a certificate is for a host, for Node's `checkServerIdentity`. Only subjectAltNames count, and `*` must be a
 * whole label (RFC 9525 § 6). Node accepts a common name where there are no subjectAltNames. Go does not, and so
 * neither do containerd, CRI-O and Docker on the nodes.
 */
export function checkServerName(host: string, certificate: PeerCertificate): Error | undefined {
  // A server may present no certificate where that is allowed.
  if (certificate.raw !== undefined && isFor(new X509Certificate(certificate.raw), host)) return undefined
  return Object.assign(new Error(`the certificate is not for ${host}`), {
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    cert: certificate,
  })
}

/** Whether a certificate is for a name or address, see {@link checkServerName}. */
export function isFor(certificate: X509Certificate, host: string): boolean {
  const name = host.replace(/\.$/, '')
  const found =
    isIP(name) === 0
      ? certificate.checkHost(name, { subject: 'never', partialWildcards: false })
      : certificate.checkIP(name)
  return found !== undefined
}

/** TLS settings for one host only: not for hosts that it redirects to, nor for its token service. */
export interface HostTls {
  /** CA certificates to trust besides the usual ones, PEM, one in each text. */
  ca?: readonly string[] | undefined
  /** The client certificate with its chain, PEM. Needs `key`. */
  cert?: string | undefined
  /** The client certificate's private key, PEM, not encrypted. */
  key?: string | undefined
  /** Do not check the host's certificate. */
  skipVerify?: boolean | undefined
  /** The files that these come from, for messages. */
  files?: { ca?: readonly string[] | undefined; cert?: string | undefined } | undefined
}
