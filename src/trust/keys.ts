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
 * The one block of a key file. OpenSSL puts the curve's name (`EC PARAMETERS`) before some private keys.
 *
 * @param source names the file in errors.
 * @throws AirgapError `INVALID_KEY`
 */
function onlyBlock(bytes: Uint8Array, source: string, half: Half): PemBlock {
  const blocks = pemBlocks(bytes).filter((block) => block.label !== 'EC PARAMETERS')
  const [block] = blocks
  if (block === undefined) {
    throw new AirgapError('INVALID_KEY', `${source} holds no PEM key${guess(bytes)}`, {
      hint: `A ${half} key file has a line "-----BEGIN ${half === 'public' ? 'PUBLIC KEY' : ENCRYPTED_KEY_LABEL}-----".`,
    })
  }
  if (blocks.length > 1) {
    const labels = blocks.slice(0, 5).map((each) => each.label.toLowerCase())
    throw new AirgapError(
      'INVALID_KEY',
      `${source} holds ${blocks.length} PEM blocks (${labels.join(', ')})`,
      {
        hint: 'One key a file: it must be plain which key is meant.',
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
  if (text.includes('-----BEGIN ')) return ': its BEGIN line has no END line that fits'
  if (bytes[0] === 0x30) return ': it looks like DER, which is to be converted to PEM first'
  return ''
}

/** What PEM labels stand for, where no key or a key of another kind was given. */
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

/** The error for a file that holds `label` where one half of an accepted key is needed. */
function wrongBlock(label: string, source: string, half: Half): AirgapError {
  const isPrivate = label.endsWith('PRIVATE KEY')
  const found = OTHER_BLOCKS[label] ?? (isPrivate ? 'a private key' : `a PEM block "${label}"`)
  const needed = `a ${half} key (${acceptedNames()})`
  let hint: Hint = { id: 'new-key' }
  if (half === 'public' && isPrivate) {
    hint = 'Give the .pub file. A private key has no business where bundles are only checked.'
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
  /** Lower-case hexadecimal SHA-256 of the key's DER form (SPKI): what people compare. */
  readonly fingerprint: string
  /** The same hash in base64: what a Sigstore bundle names the key by, as cosign does. */
  readonly hint: string
  /** Its kind in words: `ECDSA P-256`, `RSA 3072`. */
  readonly kind: string
  /** The file that it came from, for messages. */
  readonly source: string
}

/**
 * A private key, open for signing, wherever it is: the key itself does not leave it. Its kind is that of the public key.
 */
export interface SigningKey {
  readonly publicKey: PublicKey
  /**
   * Signs `bytes`. Whoever uses the signature checks it first (`signBytes` does): a key held elsewhere may answer
   * anything.
   *
   * @returns for ECDSA, DER (RFC 3279 § 2.2.3), for RSA the signature of PKCS #1 v1.5 (RFC 8017 § 8.2), over a hash that
   *   goes with the kind of key: SHA-256, unless it is held elsewhere and made otherwise.
   * @throws the signal's reason; for a key held elsewhere, whatever its way of signing throws.
   */
  sign(bytes: Uint8Array, signal?: AbortSignal): Promise<Buffer>
  /** The program that has the key, where it is held elsewhere. It may ask somebody for a PIN, on the terminal. */
  readonly heldBy?: string
  /** What the owner of the key should know, such as a file that others can read. */
  readonly warnings: string[]
}

/**
 * Makes an ECDSA P-256 key pair in cosign's own format: the private half encrypted with `password` (a string
 * counts as UTF-8), the public half as PEM SPKI.
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
 * Reads a public key from memory, as {@link readPublicKey} does.
 * @param source names the key in messages.
 * @throws AirgapError `INVALID_KEY`
 */
export function parsePublicKey(bytes: Uint8Array, source: string): PublicKey {
  const { label, der } = onlyBlock(bytes, source, 'public')
  // By its label and not by trying: createPublicKey also takes private keys and certificates.
  if (label !== 'PUBLIC KEY') throw wrongBlock(label, source, 'public')
  if (!der) throw damaged(source, 'its contents are not base64')
  return toPublicKey(der, source)
}

/**
 * Reads a private key file: cosign's encrypted form (either label; scrypt N 32768, 65536 or 131072), PKCS#8
 * plain or encrypted, SEC1 or PKCS#1. The password is asked for only if the file is encrypted and otherwise sound.
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

/** A key file names its public half too; a pair that does not fit would sign what nobody can verify. */
function checkPair(privateKey: KeyObject, publicKey: PublicKey, hash: string): void {
  const probe = Buffer.from('airgap')
  const fits = attempt(publicKey.source, () =>
    verify(hash, probe, publicKey.keyObject, sign(hash, probe, privateKey)),
  )
  if (!fits) throw damaged(publicKey.source, 'its private and public halves do not belong together')
}

/** Takes the DER as it was read: OpenSSL can neither export every point that it reads, nor fail at it cleanly. */
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

/** OpenSSL cannot tell a wrong password from damage: bad padding, or good padding around nonsense. */
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
  return [`${path} is open to other users (mode ${octal}); close it with: chmod 600 ${path}`]
}
