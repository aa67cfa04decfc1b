import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { isIP } from 'node:net'

export interface Certificate {
  /** PEM. */
  cert: string
  key: string
  subject: Buffer
  privateKey: KeyObject
}

const ECDSA_SHA256 = tlv(0x30, Buffer.from('06082a8648ce3d040302', 'hex'))

/** An authority gives no serial number twice. */
let count = 0

/** Makes an X.509 certificate (RFC 5280), so that the tests need neither openssl nor stored keys. */
export function makeCertificate(options: {
  name: string
  /** DNS names and IPv4 addresses. */
  names?: string[]
  /** Absent for a certificate that signs itself. */
  issuer?: Certificate
  notAfter?: Date
}): Certificate {
  count += 1
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const subject = tlv(
    0x30,
    tlv(0x31, tlv(0x30, Buffer.from('0603550403', 'hex'), tlv(0x0c, Buffer.from(options.name)))),
  )
  const notAfter = options.notAfter ?? new Date(Date.now() + 86_400_000)
  const extensions = [
    extension('551d13', tlv(0x30, ...(options.names ? [] : [Buffer.from('0101ff', 'hex')]))),
  ]
  if (options.names) extensions.push(extension('551d11', tlv(0x30, ...options.names.map(alternativeName))))
  const tbs = tlv(
    0x30,
    tlv(0xa0, Buffer.from('020102', 'hex')),
    tlv(0x02, Buffer.from([1 + (count >> 8), count & 255])),
    ECDSA_SHA256,
    options.issuer?.subject ?? subject,
    tlv(0x30, time(new Date(notAfter.getTime() - 10 * 86_400_000)), time(notAfter)),
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, tlv(0x30, ...extensions)),
  )
  const signature = sign('sha256', tbs, options.issuer?.privateKey ?? privateKey)
  const der = tlv(0x30, tbs, ECDSA_SHA256, tlv(0x03, Buffer.from([0]), signature))
  const body = der.toString('base64').replace(/.{1,64}/g, '$&\n')
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${body}-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    subject,
    privateKey,
  }
}

function tlv(tag: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  const length =
    body.length < 128
      ? [body.length]
      : body.length < 256
        ? [0x81, body.length]
        : [0x82, body.length >> 8, body.length & 255]
  return Buffer.concat([Buffer.from([tag, ...length]), body])
}

function time(date: Date): Buffer {
  return tlv(0x18, Buffer.from(`${date.toISOString().replace(/[-:T]|\..*/g, '')}Z`))
}

function extension(oid: string, value: Buffer): Buffer {
  return tlv(0x30, tlv(0x06, Buffer.from(oid, 'hex')), tlv(0x04, value))
}

function alternativeName(name: string): Buffer {
  return isIP(name) === 4 ? tlv(0x87, Buffer.from(name.split('.').map(Number))) : tlv(0x82, Buffer.from(name))
}
