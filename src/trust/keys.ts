import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto'
import { AirgapError } from '../errors.ts'
import { readSmallFile, readSmallFileAndMode } from '../files/small-file.ts'
import {
  ENCRYPTED_KEY_LABEL,
  encryptKey,
  OLD_ENCRYPTED_KEY_LABEL,
  readEncryptedKey,
  wrongPassword,
} from './encrypted-key.ts'
import { acceptedKind, acceptedNames, checkEncoding, describeKey } from './key-kinds.ts'
import { MAX_SECRET_FILE, type PasswordSource } from './password.ts'
import { type PemBlock, pemBlocks, toPem } from './pem.ts'
import type { Hint } from '../hints.ts'

type Half = 'public' | 'private'

/**
 * The only PEM block of a key file. OpenSSL puts the curve's name (`EC PARAMETERS`) before some private keys.
 *
 * @param source names the file in errors.
 * @throws AirgapError `INVALID_KEY`
 */
function onlyBlock(bytes: Uint8Array, source: string, half: Half): PemBlock {
  const blocks = pemBlocks(bytes).filter((block) => block.label !== 'EC PARAMETERS')
  const [block] = blocks
  if (block === undefined) {
    throw new AirgapError('INVALID_KEY', `${source} contains no PEM key${guess(bytes)}`, {
      hint: `A ${half} key file has a line "-----BEGIN ${half === 'public' ? 'PUBLIC KEY' : ENCRYPTED_KEY_LABEL}-----".`,
    })
  }
  if (blocks.length > 1) {
    const labels = blocks.slice(0, 5).map((each) => each.label.toLowerCase())
    throw new AirgapError(
      'INVALID_KEY',
      `${source} holds ${blocks.length} PEM blocks (${labels.join(', ')})`,
      {
        hint: 'A file may contain only one key, so that it is clear which one is meant.',
      },
    )
  }
  return block
}

function guess(bytes: Uint8Array): string {
  if (bytes.length === 0) return ': it is empty'
  const text = Buffer.from(bytes).toString('latin1')
  if (/^(?:ssh|ecdsa|sk)-[a-z0-9@.-]+ AAAA/.test(text)) return ': it is an SSH public key'
  if (text.startsWith('untrusted comment:')) return ': it is a minisign or signify file'
  if (text.includes('-----BEGIN ')) return ': its BEGIN line has no matching END line'
  if (bytes[0] === 0x30) return ': it looks like DER; convert it to PEM first'
  return ''
}

/** Meaning of PEM labels, for when the wrong kind of file was given. */
const OTHER_BLOCKS: Record<string, string> = {
  CERTIFICATE: 'a certificate',
  'CERTIFICATE REQUEST': 'a certificate request',
  'RSA PUBLIC KEY': 'an RSA public key',
  'DSA PRIVATE KEY': 'a DSA private key',
  'OPENSSH PRIVATE KEY': 'a private key in the form of OpenSSH',
  'PGP PUBLIC KEY BLOCK': 'a PGP public key',
  'PGP PRIVATE KEY BLOCK': 'a PGP private key',
  'PUBLIC KEY': 'a public key',
}

/** The error for a file with `label` where one half of an accepted key is needed. */
function wrongBlock(label: string, source: string, half: Half): AirgapError {
  const isPrivate = label.endsWith('PRIVATE KEY')
  const found = OTHER_BLOCKS[label] ?? (isPrivate ? 'a private key' : `a PEM block "${label}"`)
  const needed = `a ${half} key (${acceptedNames()})`
  let hint: Hint = { id: 'new-key' }
  if (half === 'public' && isPrivate) {
    hint = 'Give the .pub file. A private key does not belong where bundles are only verified.'
  } else if (half === 'private' && label === 'PUBLIC KEY') {
    hint = 'Give the .key file: signing needs the private key.'
  }
  return new AirgapError('INVALID_KEY', `${source} holds ${found} where ${needed} is needed`, { hint })
}

/** The error for a key file that cannot be used. `reason` is a clause. */
function damaged(source: string, reason: string, cause?: unknown): AirgapError {
  return new AirgapError('INVALID_KEY', `${source} cannot be used: ${reason}`, { cause })
}

/** A public key that signatures are checked against. */
export interface PublicKey {
  readonly keyObject: KeyObject
  /** Lower-case hexadecimal SHA-256 of the key's DER form (SPKI), for people to compare. */
  readonly fingerprint: string
  /** The same hash in base64, by which Sigstore bundles name the key, as in cosign. */
  readonly hint: string
  /** The kind for people: `ECDSA P-256`, `RSA 3072`. */
  readonly kind: string
  /** The file of the key, for messages. */
  readonly source: string
}

/**
 * A private key, opened for signing, wherever it is stored. The key itself is not exposed. It is of the same kind as
 * the public key.
 */
export interface SigningKey {
  readonly publicKey: PublicKey
  /**
   * Signs `bytes`. Callers must verify the signature (as `signBytes` does), because a key held elsewhere may return
   * anything.
   *
   * @returns for ECDSA, DER (RFC 3279 § 2.2.3); for RSA, PKCS #1 v1.5 (RFC 8017 § 8.2). The hash is one that is
   *   accepted with the kind of key: SHA-256, except for keys held elsewhere that sign over another one.
   * @throws the signal's reason; for a key held elsewhere, whatever its way of signing throws.
   */
  sign(bytes: Uint8Array, signal?: AbortSignal): Promise<Buffer>
  /** The program that signs, for a key held elsewhere. It may ask for a PIN on the terminal. */
  readonly heldBy?: string
  /** Warnings for the owner of the key, such as a file that others can read. */
  readonly warnings: string[]
}

/**
 * Makes an ECDSA P-256 key pair in cosign's format: the private key encrypted with `password` (a string is encoded as
 * UTF-8), the public key as PEM SPKI.
 */
export function generateKeyPair(password: Uint8Array | string): {
  privateKeyPem: string
  publicKeyPem: string
} {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' })
  try {
    return {
      privateKeyPem: toPem(ENCRYPTED_KEY_LABEL, encryptKey(pkcs8, Buffer.from(password))),
      publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }),
    }
  } finally {
    pkcs8.fill(0)
  }
}

/**
 * Reads a public key file: PEM, `PUBLIC KEY` (SPKI, RFC 7468 § 13).
 * @throws AirgapError `FILE`, `INVALID_KEY`
 */
export async function readPublicKey(path: string): Promise<PublicKey> {
  return parsePublicKey(await readSmallFile(path, MAX_SECRET_FILE, 'key'), path)
}

/**
 * Parses a public key, in the same format as {@link readPublicKey}.
 * @param source names the key in messages.
 * @throws AirgapError `INVALID_KEY`
 */
export function parsePublicKey(bytes: Uint8Array, source: string): PublicKey {
  const { label, der } = onlyBlock(bytes, source, 'public')
  // Checks the label, because createPublicKey also accepts private keys and certificates.
  if (label !== 'PUBLIC KEY') throw wrongBlock(label, source, 'public')
  if (!der) throw damaged(source, 'its contents are not base64')
  return toPublicKey(der, source)
}

/**
 * Reads a private key file: cosign's encrypted form (either label; scrypt N 32768, 65536 or 131072), plain or encrypted
 * PKCS#8, SEC1 or PKCS#1. Asks for the password only if the file is encrypted and otherwise sound.
 *
 * @throws AirgapError `FILE`, `INVALID_KEY`, `PASSWORD`
 */
export async function readPrivateKey(path: string, getPassword: PasswordSource): Promise<SigningKey> {
  const { bytes, mode } = await readSmallFileAndMode(path, MAX_SECRET_FILE, 'key')
  const block = onlyBlock(bytes, path, 'private')
  const privateKey = await openPrivateKey(block, path, getPassword)
  const [hash] = acceptedKind(privateKey, path).hashes
  const spki = attempt(path, () => createPublicKey(privateKey).export({ type: 'spki', format: 'der' }))
  const publicKey = toPublicKey(spki, path)
  checkPair(privateKey, publicKey, hash)
  return {
    publicKey,
    sign: async (data) => sign(hash, data, privateKey),
    warnings: modeWarnings(path, mode),
  }
}

async function openPrivateKey(
  block: PemBlock,
  path: string,
  getPassword: PasswordSource,
): Promise<KeyObject> {
  const { label, der, text } = block
  if ((label === 'EC PRIVATE KEY' || label === 'RSA PRIVATE KEY') && block.oldEncryption) {
    const passphrase = await askPassword(path, getPassword)
    return decrypt(path, () => createPrivateKey({ key: text, format: 'pem', passphrase }))
  }
  switch (label) {
    case ENCRYPTED_KEY_LABEL:
    case OLD_ENCRYPTED_KEY_LABEL: {
      const envelope = readEncryptedKey(mustDecode(der, path), path)
      const pkcs8 = envelope.open(await askPassword(path, getPassword))
      try {
        return attempt(path, () => createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }))
      } finally {
        pkcs8.fill(0)
      }
    }
    case 'ENCRYPTED PRIVATE KEY': {
      const key = mustDecode(der, path)
      const passphrase = await askPassword(path, getPassword)
      return decrypt(path, () => createPrivateKey({ key, format: 'der', type: 'pkcs8', passphrase }))
    }
    case 'PRIVATE KEY':
    case 'EC PRIVATE KEY':
    case 'RSA PRIVATE KEY': {
      const key = mustDecode(der, path)
      const type = PLAIN_FORMS[label]
      return attempt(path, () => createPrivateKey({ key, format: 'der', type }))
    }
    default:
      throw wrongBlock(label, path, 'private')
  }
}

const PLAIN_FORMS = { 'PRIVATE KEY': 'pkcs8', 'EC PRIVATE KEY': 'sec1', 'RSA PRIVATE KEY': 'pkcs1' } as const

async function askPassword(path: string, getPassword: PasswordSource): Promise<Buffer> {
  const password = await getPassword()
  if (password === undefined) {
    throw new AirgapError('PASSWORD', `${path} is encrypted and no password was given`, {
      hint: { id: 'password' },
    })
  }
  return Buffer.from(password)
}

/** A private key file contains the public key too. If they do not match, nobody could verify the signatures. */
function checkPair(privateKey: KeyObject, publicKey: PublicKey, hash: string): void {
  const probe = Buffer.from('airgap')
  const fits = attempt(publicKey.source, () =>
    verify(hash, probe, publicKey.keyObject, sign(hash, probe, privateKey)),
  )
  if (!fits) throw damaged(publicKey.source, 'its private and public keys do not belong together')
}

/** Uses the DER as it was read, because OpenSSL cannot export every point that it reads, and does not fail cleanly. */
function toPublicKey(spki: Buffer, source: string): PublicKey {
  const keyObject = attempt(source, () => createPublicKey({ key: spki, format: 'der', type: 'spki' }))
  checkEncoding(spki, keyObject, source)
  const hash = createHash('sha256').update(spki).digest()
  const kind = describeKey(keyObject)
  return { keyObject, fingerprint: hash.toString('hex'), hint: hash.toString('base64'), kind, source }
}

function mustDecode(der: Buffer | undefined, source: string): Buffer {
  if (!der) throw damaged(source, 'its contents are not base64')
  return der
}

function attempt<T>(source: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw damaged(source, 'its contents are not a usable key', error)
  }
}

/** OpenSSL cannot tell a wrong password from damage: both give bad padding, or valid padding around garbage. */
function decrypt(source: string, parse: () => KeyObject): KeyObject {
  try {
    return parse()
  } catch (error) {
    throw wrongPassword(source, error)
  }
}

function modeWarnings(path: string, mode: number | undefined): string[] {
  if (mode === undefined || (mode & 0o077) === 0) return []
  const octal = mode.toString(8).padStart(4, '0')
  return [`${path} is accessible to other users (mode ${octal}). To change that: chmod 600 ${path}`]
}
