import { createHash, createPublicKey, sign, type KeyObject } from 'node:crypto'

/** Certificates as a Fulcio issues them, and as it never would: written by hand, byte by byte. */

export function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents)
  const size = content.length
  const long = size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff]
  return Buffer.concat([Buffer.from([tag, ...(size < 0x80 ? [size] : long)]), content])
}

const sequence = (...contents: readonly Uint8Array[]): Buffer => der(0x30, ...contents)
const octets = (content: Uint8Array): Buffer => der(0x04, content)
const bits = (content: Uint8Array, unused = 0): Buffer => der(0x03, Buffer.from([unused]), content)
const TRUE = der(0x01, Buffer.from([0xff]))

export function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number)
  const bytes = rest.flatMap((arc) => {
    const parts = [arc & 0x7f]
    for (let left = arc >>> 7; left > 0; left >>>= 7) parts.unshift((left & 0x7f) | 0x80)
    return parts
  })
  return der(0x06, Buffer.from([first * 40 + second, ...bytes]))
}

export function utf8(text: string | Uint8Array): Buffer {
  return der(0x0c, Buffer.from(text))
}

function name(organization: string): Buffer {
  return sequence(der(0x31, sequence(oid('2.5.4.10'), utf8(organization))))
}

function time(date: Date): Buffer {
  const digits = date
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(/[-:T]/g, '')
  // With two digits for the year until 2049 (RFC 5280 § 4.1.2.5).
  return date.getUTCFullYear() < 2050
    ? der(0x17, Buffer.from(digits.slice(2)))
    : der(0x18, Buffer.from(digits))
}

export interface Extension {
  oid: string
  critical?: boolean
  /** What stands inside the OCTET STRING. */
  value: Uint8Array
}

function extension({ oid: id, critical = false, value }: Extension): Buffer {
  return sequence(oid(id), ...(critical ? [TRUE] : []), octets(value))
}

export type GeneralName = { uri: string } | { email: string } | { dns: string } | { username: string }

function generalName(one: GeneralName): Buffer {
  if ('uri' in one) return der(0x86, Buffer.from(one.uri, 'latin1'))
  if ('email' in one) return der(0x81, Buffer.from(one.email, 'latin1'))
  if ('dns' in one) return der(0x82, Buffer.from(one.dns, 'latin1'))
  return der(0xa0, oid('1.3.6.1.4.1.57264.1.7'), der(0xa0, utf8(one.username)))
}

const KEY_USAGE = '2.5.29.15'
const ALTERNATIVE_NAME = '2.5.29.17'
const BASIC_CONSTRAINTS = '2.5.29.19'
const EXTENDED_KEY_USAGE = '2.5.29.37'
const SCT_LIST = '1.3.6.1.4.1.11129.2.4.2'
export const FULCIO_ISSUER_V1 = '1.3.6.1.4.1.57264.1.1'
export const FULCIO_ISSUER = '1.3.6.1.4.1.57264.1.8'
export const TIME_STAMPING = '1.3.6.1.5.5.7.3.8'
export const CODE_SIGNING = '1.3.6.1.5.5.7.3.3'

export interface LeafOptions {
  publicKey: KeyObject
  /** Default a URI. */
  names: readonly GeneralName[]
  /** The value of Fulcio's extension; a text as UTF-8. Nothing leaves it out. */
  issuer?: string | Uint8Array | undefined
  notBefore: Date
  notAfter: Date
  /** Extended key usages. */
  uses?: readonly string[]
  areUsesCritical?: boolean
  isAuthority?: boolean
  extensions?: readonly Extension[]
  withoutSct?: boolean
}

export interface KeyPair {
  publicKey: KeyObject
  privateKey: KeyObject
}

/** A certificate authority with a root of its own, and a certificate log that notes what it issues. */
export interface Authority {
  /** DER. */
  root: Buffer
  issue(options: LeafOptions): Buffer
}

export function makeAuthority(keys: KeyPair, ctLog: KeyPair, organization = 'authority.test'): Authority {
  const authority = name(organization)
  const signed = (tbs: Uint8Array): Buffer =>
    sequence(tbs, ALGORITHM, bits(sign('sha384', tbs, keys.privateKey)))
  const rootExtensions = [
    { oid: BASIC_CONSTRAINTS, critical: true, value: sequence(TRUE) },
    { oid: KEY_USAGE, critical: true, value: bits(Buffer.from([0x06]), 1) },
  ]
  const root = signed(
    toBeSigned(authority, authority, new Date(0), new Date('2100-01-01'), keys.publicKey, rootExtensions),
  )
  return {
    root,
    issue: (options) => {
      const { publicKey, names, issuer, notBefore, notAfter, isAuthority } = options
      const plain: Extension[] = [
        { oid: KEY_USAGE, critical: true, value: bits(Buffer.from([0x80]), 7) },
        {
          oid: EXTENDED_KEY_USAGE,
          critical: options.areUsesCritical === true,
          value: sequence(...(options.uses ?? [CODE_SIGNING]).map(oid)),
        },
        { oid: ALTERNATIVE_NAME, critical: true, value: sequence(...names.map(generalName)) },
        ...(isAuthority ? [{ oid: BASIC_CONSTRAINTS, critical: true, value: sequence(TRUE) }] : []),
        ...(issuer === undefined ? [] : [{ oid: FULCIO_ISSUER, value: utf8(issuer) }]),
        ...(options.extensions ?? []),
      ]
      const subject = sequence()
      const body = (extensions: readonly Extension[]): Buffer =>
        toBeSigned(authority, subject, notBefore, notAfter, publicKey, extensions)
      if (options.withoutSct) return signed(body(plain))
      const sct = signedCertificateTimestamp(body(plain), keys.publicKey, ctLog, notBefore)
      return signed(body([...plain, { oid: SCT_LIST, value: octets(sct) }]))
    },
  }
}

/** ECDSA with SHA-384. */
const ALGORITHM = sequence(oid('1.2.840.10045.4.3.3'))

function toBeSigned(
  issuer: Uint8Array,
  subject: Uint8Array,
  notBefore: Date,
  notAfter: Date,
  publicKey: KeyObject,
  extensions: readonly Extension[],
): Buffer {
  const version = der(0xa0, der(0x02, Buffer.from([2])))
  // The same for what is signed by the log and by the authority; positive, and without a zero at its beginning.
  const digest = createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest()
  const serial = der(0x02, Buffer.from([0x40]), digest.subarray(0, 8))
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  return sequence(
    version,
    serial,
    ALGORITHM,
    issuer,
    sequence(time(notBefore), time(notAfter)),
    subject,
    spki,
    der(0xa3, sequence(...extensions.map(extension))),
  )
}

/** RFC 6962 § 3.2 and 3.3: the list, with one in it. */
function signedCertificateTimestamp(
  preCertificate: Buffer,
  authority: KeyObject,
  log: KeyPair,
  at: Date,
): Buffer {
  const spki = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' })
  const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest()
  const number = (value: number, size: number): Buffer => {
    const bytes = Buffer.alloc(size)
    bytes.writeUIntBE(value, Math.max(0, size - 6), Math.min(6, size))
    return bytes
  }
  const version = Buffer.from([0])
  const timestamp = number(at.getTime(), 8)
  const noExtensions = number(0, 2)
  const signed = Buffer.concat([
    version,
    Buffer.from([0]),
    timestamp,
    number(1, 2),
    sha256(spki(authority)),
    number(preCertificate.length, 3),
    preCertificate,
    noExtensions,
  ])
  const signature = sign('sha256', signed, log.privateKey)
  const sct = Buffer.concat([
    version,
    sha256(spki(createPublicKey(log.privateKey))),
    timestamp,
    noExtensions,
    Buffer.from([4, 3]),
    number(signature.length, 2),
    signature,
  ])
  return Buffer.concat([number(sct.length + 2, 2), number(sct.length, 2), sct])
}
