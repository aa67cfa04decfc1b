import { AirgapError } from '../errors.ts'
import { ENCRYPTED_KEY_LABEL } from './encrypted-key.ts'
import { acceptedNames } from './key-kinds.ts'
import { pemBlocks, type PemBlock } from './pem.ts'

type Half = 'public' | 'private'

/**
 * The one block of a key file. OpenSSL puts the curve's name (`EC PARAMETERS`) before some private keys.
 *
 * @param source names the file in errors.
 * @throws AirgapError `INVALID_KEY`
 */
export function onlyBlock(bytes: Uint8Array, source: string, half: Half): PemBlock {
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
export function wrongBlock(label: string, source: string, half: Half): AirgapError {
  const isPrivate = label.endsWith('PRIVATE KEY')
  const found = OTHER_BLOCKS[label] ?? (isPrivate ? 'a private key' : `a PEM block "${label}"`)
  const needed = `a ${half} key (${acceptedNames()})`
  let hint = 'Make a key pair with `airgap keygen`, or with `cosign generate-key-pair`.'
  if (half === 'public' && isPrivate) {
    hint = 'Give the .pub file. A private key has no business where bundles are only checked.'
  } else if (half === 'private' && label === 'PUBLIC KEY') {
    hint = 'Give the .key file: signing needs the private key.'
  }
  return new AirgapError('INVALID_KEY', `${source} holds ${found} where ${needed} is needed`, { hint })
}

/** The error for a key file that cannot be used. `reason` is a clause. */
export function damaged(source: string, reason: string, cause?: unknown): AirgapError {
  return new AirgapError('INVALID_KEY', `${source} cannot be used: ${reason}`, { cause })
}
