import { lstat } from 'node:fs/promises'
import { AirgapError, fileError, systemCode } from '../errors.ts'
import { createWhole, removeFile } from '../files/create-whole.ts'
import { generateKeyPair, parsePublicKey } from './keys.ts'

export interface KeyPairFiles {
  privateKeyFile: string
  publicKeyFile: string
  /** Lower-case hexadecimal SHA-256 of the public key's DER form. */
  fingerprint: string
  /** Warnings for the owner of the key. */
  warnings: string[]
}

/**
 * Makes a key pair and writes it to `PREFIX.key` (mode 0600, encrypted) and `PREFIX.pub`. Both files are new, and each
 * is written completely or not at all. On a failure, neither remains.
 *
 * @throws AirgapError `OUTPUT_EXISTS` naming the existing files (also links, wherever they point), `FILE`, `DISK_FULL`,
 *   `USAGE` for a prefix that names a folder.
 */
export async function writeKeyPair(options: {
  prefix: string
  password: Uint8Array | string
}): Promise<KeyPairFiles> {
  const { prefix } = options
  if (prefix === '' || prefix.endsWith('/')) {
    throw new AirgapError('USAGE', `the prefix ${JSON.stringify(prefix)} does not end in a file name`, {
      hint: 'The prefix is the path without extension: keys/airgap makes keys/airgap.key and keys/airgap.pub.',
    })
  }
  const privateKeyFile = `${prefix}.key`
  const publicKeyFile = `${prefix}.pub`
  await refuseExisting([privateKeyFile, publicKeyFile])

  const { password } = options
  const { privateKeyPem, publicKeyPem } = generateKeyPair(password)
  await createWhole(privateKeyFile, privateKeyPem, 0o600)
  try {
    await createWhole(publicKeyFile, publicKeyPem, 0o644)
  } catch (error) {
    await removeFile(privateKeyFile)
    throw error
  }
  const { fingerprint } = parsePublicKey(Buffer.from(publicKeyPem), publicKeyFile)
  const warnings =
    password.length === 0
      ? [`${privateKeyFile} has an empty password: anyone who can read the file can sign with it`]
      : []
  return { privateKeyFile, publicKeyFile, fingerprint, warnings }
}

/** Refuses existing files early and both at once; {@link createWhole} would refuse only the first. */
async function refuseExisting(paths: string[]): Promise<void> {
  const taken: string[] = []
  for (const path of paths) {
    try {
      await lstat(path)
      taken.push(path)
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw fileError(error, 'create', path)
    }
  }
  if (taken.length === 0) return
  throw new AirgapError('OUTPUT_EXISTS', `already exists and is not overwritten: ${taken.join(', ')}`, {
    hint: 'Overwriting a key would lose it. Choose another prefix, or move the old files away.',
  })
}
