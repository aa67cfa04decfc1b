import type { KeyObject } from 'node:crypto'
import { AirgapError } from '../errors.ts'

/** One kind of key that may sign and verify here. */
interface KeyKind {
  /** As people call it. */
  name: string
  /** `KeyObject.asymmetricKeyType`. */
  type: string
  /** `asymmetricKeyDetails.namedCurve`, for elliptic curves. */
  curve: string
  /** The hash that goes with it, as node:crypto names it. */
  hash: 'sha256'
  /** How the DER form (SPKI) of every such key begins, and how long it is. */
  spki: { head: Buffer; length: number }
}

/**
 * The kinds of key that are accepted, and the only place that says so. What a further kind needs besides a row
 * here: its hash among those that the bundle reader allows, and `toMessageSignatureBundle` always states
 * SHA2_256. Ed25519 cannot join: the library never verifies it over a message.
 */
const KEY_KINDS: readonly KeyKind[] = [
  {
    name: 'ECDSA P-256',
    type: 'ec',
    curve: 'prime256v1',
    hash: 'sha256',
    // id-ecPublicKey, prime256v1 by name, an uncompressed point (RFC 5480 § 2).
    spki: {
      head: Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex'),
      length: 91,
    },
  },
]

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
 * The row of {@link KEY_KINDS} for `key`.
 *
 * @param source the file that the key comes from, for the message.
 * @throws AirgapError `INVALID_KEY`, saying what it is and what is accepted.
 */
export function acceptedKind(key: KeyObject, source: string): KeyKind {
  const curve = key.asymmetricKeyDetails?.namedCurve
  const kind = KEY_KINDS.find((row) => row.type === key.asymmetricKeyType && row.curve === curve)
  if (kind) return kind
  throw new AirgapError(
    'INVALID_KEY',
    `${source} holds a key of the kind ${describeKey(key)}; accepted: ${acceptedNames()}`,
    { hint: 'Make a key pair with `airgap keygen`, or with `cosign generate-key-pair`.' },
  )
}

/** The accepted kinds in words. */
export function acceptedNames(): string {
  return KEY_KINDS.map((kind) => kind.name).join(', ')
}

/**
 * Insists that `spki`, the DER form of the public `key`, is the one encoding that everybody reads. Compressed
 * points and curves spelled out are other encodings of the same key: with other fingerprints, and cosign reads
 * neither. The point at infinity, which is no key, has another length too.
 *
 * @throws AirgapError `INVALID_KEY`
 */
export function checkEncoding(spki: Buffer, key: KeyObject, source: string): void {
  const { head, length } = acceptedKind(key, source).spki
  if (spki.length === length && spki.indexOf(head) === 0) return
  throw new AirgapError(
    'INVALID_KEY',
    `${source} holds a key in an unusual encoding, which cosign cannot read`,
    {
      hint: 'Convert it: openssl ec -in FILE -conv_form uncompressed -param_enc named_curve (with -pubin -pubout for a public key).',
    },
  )
}
