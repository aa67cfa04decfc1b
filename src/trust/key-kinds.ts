import type { KeyObject } from 'node:crypto'
import { AirgapError } from '../errors.ts'

/** The hashes that signatures may use, by their names in node:crypto. */
export type SignatureHash = 'sha256' | 'sha384'

/** A kind of key that may sign and verify here. */
interface KeyKind {
  /** Name for people. */
  name: string
  /** `KeyObject.asymmetricKeyType`. */
  type: 'ec' | 'rsa'
  /** `asymmetricKeyDetails.namedCurve`, for elliptic curves. */
  curve?: string
  /** The length of the modulus, for RSA. */
  bits?: number
  /** The hashes accepted with it. We sign with the first one. */
  hashes: readonly [SignatureHash, ...SignatureHash[]]
  /** The order of the curve's base point. */
  order?: bigint
  /** Length of its signatures in bytes; for ECDSA the maximum, in DER. */
  signatureBytes: number
  /** How the DER form (SPKI) of every such key begins, and its length in bytes. */
  spki: { head: Buffer; length: number }
}

/** 65537, the exponent that every tool uses. With small exponents, faulty verifiers accept forgeries. */
const RSA_EXPONENT = 65537n

/** The order of P-256's base point (SEC 2, § 2.4.2). */
export const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n

/**
 * The accepted kinds of keys, each with its hashes. This is the only place that defines them.
 *
 * P-384 signs over SHA-256, because cosign up to 3.1.3 verifies every signature by a key that way by default, whatever
 * the bundle states. SHA-384 is accepted too: cosign 3 itself signs with it, later releases will verify with it
 * (sigstore/cosign#5064), and key services offer it for that curve. Ed25519 is missing because the library never
 * verifies it over a message.
 */
const KEY_KINDS: readonly KeyKind[] = [
  {
    name: 'ECDSA P-256',
    type: 'ec',
    curve: 'prime256v1',
    hashes: ['sha256'],
    order: P256_ORDER,
    signatureBytes: 72,
    // id-ecPublicKey, prime256v1 by name, an uncompressed point (RFC 5480 § 2).
    spki: encoding('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 91),
  },
  {
    name: 'ECDSA P-384',
    type: 'ec',
    curve: 'secp384r1',
    hashes: ['sha256', 'sha384'],
    // SEC 2, § 2.5.1.
    order:
      0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
    signatureBytes: 104,
    spki: encoding('3076301006072a8648ce3d020106052b8104002203620004', 120),
  },
  rsa(2048),
  rsa(3072),
  rsa(4096),
]

function encoding(head: string, length: number): KeyKind['spki'] {
  return { head: Buffer.from(head, 'hex'), length }
}

/** RSA with PKCS #1 v1.5, the only scheme that cosign and `openssl dgst` use with plain RSA keys. */
function rsa(bits: number): KeyKind {
  const bytes = bits / 8
  const long = (tag: string, length: number): string => `${tag}82${length.toString(16).padStart(4, '0')}`
  // rsaEncryption, no parameters; a modulus of exactly that length (RFC 3279 § 2.3.1). The rest of the length leaves
  // room for only one encoding of the exponent.
  const head =
    `${long('30', bytes + 34)}300d06092a864886f70d0101010500` +
    `${long('03', bytes + 15)}00${long('30', bytes + 10)}${long('02', bytes + 1)}00`
  return {
    name: `RSA ${bits}`,
    type: 'rsa',
    bits,
    hashes: ['sha256'],
    signatureBytes: bytes,
    spki: encoding(head, bytes + 38),
  }
}

const CURVE_NAMES: Record<string, string> = {
  prime256v1: 'P-256',
  secp384r1: 'P-384',
  secp521r1: 'P-521',
}

const TYPE_NAMES: Record<string, string> = {
  rsa: 'RSA',
  'rsa-pss': 'RSA-PSS',
  dsa: 'DSA',
  dh: 'Diffie-Hellman',
  ed25519: 'Ed25519',
  ed448: 'Ed448',
  x25519: 'X25519',
  x448: 'X448',
}

/** The kind of `key` in words: `ECDSA P-384`, `RSA 2048`, `Ed25519`. */
export function describeKey(key: KeyObject): string {
  const type = key.asymmetricKeyType ?? key.type
  const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {}
  if (type === 'ec') {
    return namedCurve === undefined
      ? 'ECDSA with a curve of its own'
      : `ECDSA ${CURVE_NAMES[namedCurve] ?? namedCurve}`
  }
  const name = TYPE_NAMES[type] ?? type
  return modulusLength === undefined ? name : `${name} ${modulusLength}`
}

/**
 * The entry of {@link KEY_KINDS} for `key`.
 *
 * @param source the file of the key, for the message.
 * @throws AirgapError `INVALID_KEY`, saying what the key is and what is accepted.
 */
export function acceptedKind(key: KeyObject, source: string): KeyKind {
  const { namedCurve, modulusLength, publicExponent } = key.asymmetricKeyDetails ?? {}
  const kind = KEY_KINDS.find(
    ({ type, curve, bits }) =>
      type === key.asymmetricKeyType && (type === 'ec' ? curve === namedCurve : bits === modulusLength),
  )
  if (kind?.type === 'rsa' && publicExponent !== RSA_EXPONENT) {
    throw new AirgapError(
      'INVALID_KEY',
      `${source} holds an RSA key with the public exponent ${shortNumber(publicExponent)}; only ${RSA_EXPONENT} is accepted`,
      { hint: { id: 'new-key' } },
    )
  }
  if (kind) return kind
  const reason = whyRefused(key)
  throw new AirgapError(
    'INVALID_KEY',
    `${source} holds a key of the kind ${describeKey(key)}${reason === '' ? '' : `, ${reason}`}; accepted: ${acceptedNames()}`,
    { hint: { id: 'new-key' } },
  )
}

function whyRefused(key: KeyObject): string {
  const { modulusLength = 0 } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'rsa-pss') return 'whose signatures cosign cannot check'
  if (key.asymmetricKeyType !== 'rsa') return ''
  if (modulusLength < 2048) return 'which is too short to be safe'
  return modulusLength > 4096
    ? 'which is larger than cosign and others accept'
    : 'a length that cosign refuses'
}

/** Shortens a number, because exponents may be as long as the modulus. */
function shortNumber(value: bigint | undefined): string {
  const text = String(value ?? 'of no value')
  return text.length <= 20 ? text : `${text.slice(0, 12)}… (${text.length} digits)`
}

/** The name of a hash for people. */
export function hashName(hash: SignatureHash): string {
  return `SHA-${hash.slice(3)}`
}

/** The accepted kinds in words. */
export function acceptedNames(): string {
  return KEY_KINDS.map((kind) => kind.name).join(', ')
}

/**
 * Requires that `der`, the SPKI form of the public `key`, is in the one encoding that all tools read. Compressed points
 * and explicit curve parameters encode the same key with another fingerprint, and cosign reads neither. The point at
 * infinity, which is not a valid key, has a different length too.
 *
 * @throws AirgapError `INVALID_KEY`
 */
export function checkEncoding(der: Buffer, key: KeyObject, source: string): void {
  const { type, spki } = acceptedKind(key, source)
  const { head, length } = spki
  if (der.length === length && der.indexOf(head) === 0) return
  const convert =
    type === 'ec'
      ? 'openssl ec -in FILE -conv_form uncompressed -param_enc named_curve'
      : 'openssl rsa -in FILE'
  throw new AirgapError(
    'INVALID_KEY',
    `${source} holds a key in an unusual encoding, which cosign cannot read`,
    { hint: `Convert it: ${convert} (with -pubin -pubout for a public key).` },
  )
}
