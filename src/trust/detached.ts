import * as v from 'valibot'
import { AirgapError } from '../errors.ts'
import { checkKeyCase, checkShape, parseStrictJson } from '../oci/json.ts'
import { decodeBase64 } from './pem.ts'
import { fromOldCosignBundle } from './identity/old-cosign-bundle.ts'
import { BUNDLE_JSON_LIMIT } from './key-bundle.ts'
import { DER_LIMIT } from './verify.ts'

/** A signature file, in the form that was found. */
export type DetachedSignature =
  { bundleJson: Buffer; der?: undefined } | { der: Buffer; bundleJson?: undefined }

/** What cosign 2 wrote with `--bundle`. */
const OldCosignBundle = v.object({
  base64Signature: v.string('a string is expected'),
  cert: v.nullish(v.string('a string is expected')),
  rekorBundle: v.optional(v.unknown()),
})

const ACCEPTED =
  'Accepted: a Sigstore bundle (cosign sign-blob), a raw signature (openssl dgst -sign), ' +
  'the same in base64 (cosign 2, .sig), and the JSON bundle of cosign 2.'

/**
 * Parses a separate signature file. The form is detected from the content: a Sigstore bundle, a raw signature (DER, or
 * as long as an RSA signature), the same in base64 (line breaks allowed), or cosign 2's `{base64Signature, cert,
 * rekorBundle}`, which becomes a Sigstore bundle if it contains a certificate. Verifies nothing: pass the result to
 * `verifySignature` or `readCertificateBundle`.
 *
 * @param what names the file in errors.
 * @throws AirgapError `INVALID_CONTENT`
 */
export function parseDetachedSignature(bytes: Uint8Array, what: string): DetachedSignature {
  const file = Buffer.from(bytes)
  if (file.length > BUNDLE_JSON_LIMIT) throw unusable(what, 'it is larger than 1 MiB')
  if (isRawSignature(file) && !isText(file)) return { der: file }
  const text = file
    .toString('latin1')
    .replace(/^\xef\xbb\xbf/, '')
    .trim()
  if (text === '') throw unusable(what, 'it is empty')
  if (text.startsWith('{')) return fromJson(file, what)
  if (text.startsWith('-----BEGIN ')) {
    throw unusable(what, 'it is a PEM file (a key, a certificate or another tool’s signature)')
  }
  return { der: fromBase64(text.replace(/\s+/g, ''), what) }
}

function fromJson(file: Buffer, what: string): DetachedSignature {
  const value = parseStrictJson(file, what)
  if (typeof value !== 'object' || value === null) throw unusable(what, 'it is not a JSON object')
  // Go matches these names in any case, so a `Cert` would be a certificate to cosign.
  checkKeyCase(value, ['mediaType', 'base64Signature', 'cert', 'rekorBundle'], what)
  if ('mediaType' in value) return { bundleJson: file }
  if (!('base64Signature' in value)) throw unusable(what, 'it is JSON, but not a signature')
  const { base64Signature, cert, rekorBundle } = checkShape(OldCosignBundle, value, what)
  const der = fromBase64(base64Signature, what)
  const bundleJson = cert ? fromOldCosignBundle({ signature: der, cert, rekorBundle }, what) : undefined
  return bundleJson ? { bundleJson } : { der }
}

function fromBase64(text: string, what: string): Buffer {
  const der = decodeBase64(text)
  if (!der || !isRawSignature(der)) throw unusable(what, 'its contents are not a signature')
  return der
}

/** The lengths of signatures by accepted RSA keys, in bytes. */
const RSA_LENGTHS = new Set([256, 384, 512])

function isRawSignature(bytes: Buffer): boolean {
  return isDerSequence(bytes) || RSA_LENGTHS.has(bytes.length)
}

/** Needed because the base64 of one signature may be as long as another raw signature. */
function isText(bytes: Buffer): boolean {
  return bytes.every(
    (byte) => (byte >= 0x20 && byte < 0x7f) || byte === 0x0a || byte === 0x0d || byte === 0x09,
  )
}

/** Whether `bytes` are one DER SEQUENCE from first to last (ITU-T X.690 § 8.1.3), as an ECDSA signature is. */
function isDerSequence(bytes: Buffer): boolean {
  if (bytes.length < 2 || bytes.length > DER_LIMIT || bytes[0] !== 0x30) return false
  const first = bytes.readUInt8(1)
  if (first < 0x80) return bytes.length === 2 + first
  if (first === 0x81 && bytes.length > 3) return bytes.length === 3 + bytes.readUInt8(2)
  if (first === 0x82 && bytes.length > 4) return bytes.length === 4 + bytes.readUInt16BE(2)
  return false
}

function unusable(what: string, reason: string): AirgapError {
  return new AirgapError('INVALID_CONTENT', `${what} is not a usable signature file: ${reason}`, {
    hint: ACCEPTED,
  })
}
