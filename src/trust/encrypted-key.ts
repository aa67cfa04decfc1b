import { randomBytes, scryptSync } from 'node:crypto'
import { secretbox } from '@noble/ciphers/salsa.js'
import * as v from 'valibot'
import { AirgapError } from '../errors.ts'
import { checkShape, parseStrictJson } from '../oci/json.ts'
import { decodeBase64 } from './pem.ts'

/** The PEM label that cosign writes since 2.0. */
export const ENCRYPTED_KEY_LABEL = 'ENCRYPTED SIGSTORE PRIVATE KEY'
/** The PEM label that older cosign versions wrote, for the same content. */
export const OLD_ENCRYPTED_KEY_LABEL = 'ENCRYPTED COSIGN PRIVATE KEY'

/** The scrypt costs that cosign knows. Others could take hours, or be too weak. */
const SCRYPT_COSTS = [32768, 65536, 131072] as const
/** The cost that cosign uses now. */
const SCRYPT_COST = 65536
/** The highest cost needs 128 MiB (128 · N · r), and OpenSSL a little more. */
const SCRYPT_MAXMEM = 192 * 1024 * 1024
const SALT_BYTES = 32
const NONCE_BYTES = 24
const BOX_KEY_BYTES = 32

const base64 = v.pipe(
  v.string('a base64 string is expected'),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    const bytes = decodeBase64(dataset.value)
    if (bytes) return bytes
    addIssue({ message: 'it is not base64' })
    return NEVER
  }),
)

const Envelope = v.object({
  kdf: v.object({
    name: v.literal('scrypt', 'only scrypt is known'),
    params: v.object({
      N: v.picklist(SCRYPT_COSTS, `only ${SCRYPT_COSTS.join(', ')} are accepted`),
      r: v.literal(8, 'only 8 is accepted'),
      p: v.literal(1, 'only 1 is accepted'),
    }),
    salt: base64,
  }),
  cipher: v.object({
    name: v.literal('nacl/secretbox', 'only nacl/secretbox is known'),
    nonce: v.pipe(
      base64,
      v.check((nonce) => nonce.length === NONCE_BYTES, `it is not ${NONCE_BYTES} bytes long`),
    ),
  }),
  ciphertext: base64,
})

/**
 * Encrypts a private key as cosign does (go-securesystemslib, `encrypted`): scrypt over the password, then NaCl's
 * secretbox. Returns the JSON for the PEM block.
 *
 * @param cost scrypt's N.
 */
export function encryptKey(
  pkcs8: Uint8Array,
  password: Uint8Array,
  cost: (typeof SCRYPT_COSTS)[number] = SCRYPT_COST,
): Buffer {
  const salt = randomBytes(SALT_BYTES)
  const nonce = randomBytes(NONCE_BYTES)
  const ciphertext = secretbox(boxKey(password, salt, cost), nonce).seal(pkcs8)
  return Buffer.from(
    JSON.stringify({
      kdf: { name: 'scrypt', params: { N: cost, r: 8, p: 1 }, salt: salt.toString('base64') },
      cipher: { name: 'nacl/secretbox', nonce: nonce.toString('base64') },
      ciphertext: Buffer.from(ciphertext).toString('base64'),
    }),
  )
}

/** A parsed envelope, to be opened with the password. */
export interface EncryptedKey {
  /**
   * Returns the PKCS#8 DER inside.
   * @throws AirgapError `PASSWORD` for a wrong password, or if the file was altered.
   */
  open(password: Uint8Array): Buffer
}

/**
 * Parses the JSON of cosign's encrypted key, so that an unusable file is refused before the user is asked for a
 * password.
 *
 * @param source names the file in errors.
 * @throws AirgapError `INVALID_KEY`
 */
export function readEncryptedKey(json: Uint8Array, source: string): EncryptedKey {
  const { kdf, cipher, ciphertext } = readEnvelope(json, source)
  return {
    open(password) {
      const box = secretbox(boxKey(password, kdf.salt, kdf.params.N), cipher.nonce)
      try {
        return Buffer.from(box.open(ciphertext))
      } catch (error) {
        throw wrongPassword(source, error)
      }
    },
  }
}

function readEnvelope(json: Uint8Array, source: string): v.InferOutput<typeof Envelope> {
  const what = `the encrypted key in ${source}`
  try {
    return checkShape(Envelope, parseStrictJson(json, what), what)
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    throw new AirgapError('INVALID_KEY', error.message, {
      hint: 'The file is damaged, or was not made by cosign.',
    })
  }
}

/** The error for a password that does not open `source`. */
export function wrongPassword(source: string, cause: unknown): AirgapError {
  return new AirgapError('PASSWORD', `the password does not open ${source}`, {
    hint: 'Either the password is wrong, or the file was altered.',
    cause,
  })
}

function boxKey(password: Uint8Array, salt: Uint8Array, cost: number): Uint8Array {
  return scryptSync(password, salt, BOX_KEY_BYTES, { N: cost, r: 8, p: 1, maxmem: SCRYPT_MAXMEM })
}
