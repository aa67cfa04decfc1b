import { randomBytes } from 'node:crypto'
import { link, lstat, open, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { AirgapError, fileError, systemCode } from '../errors.ts'
import { generateKeyPair, parsePublicKey } from './keys.ts'

export interface KeyPairFiles {
  privateKeyFile: string
  publicKeyFile: string
  /** Of the public key: lower-case hexadecimal SHA-256 of its DER form. */
  fingerprint: string
  /** What the owner of the key should know. */
  warnings: string[]
}

/**
 * Makes a key pair and writes it to `PREFIX.key` (mode 0600, encrypted) and `PREFIX.pub`. Both files are new,
 * each appears whole or not at all, and on a failure neither is left.
 *
 * @throws AirgapError `OUTPUT_EXISTS` naming what is in the way (a link counts, wherever it points), `FILE`,
 *   `DISK_FULL`, `USAGE` for a prefix that names a folder.
 */
export async function writeKeyPair(options: {
  prefix: string
  password: Uint8Array | string
}): Promise<KeyPairFiles> {
  const { prefix } = options
  if (prefix === '' || prefix.endsWith('/')) {
    throw new AirgapError('USAGE', `the prefix ${JSON.stringify(prefix)} does not end in a file name`, {
      hint: 'The prefix is the path without its ending: keys/airgap makes keys/airgap.key and keys/airgap.pub.',
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
    await remove(privateKeyFile)
    throw error
  }
  const { fingerprint } = parsePublicKey(Buffer.from(publicKeyPem), publicKeyFile)
  const warnings =
    password.length === 0
      ? [`${privateKeyFile} has an empty password: whoever can read the file can sign with it`]
      : []
  return { privateKeyFile, publicKeyFile, fingerprint, warnings }
}

/** Says at once, and about both files, what {@link createWhole} would say about the first. */
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
  throw new AirgapError('OUTPUT_EXISTS', `already there, and not overwritten: ${taken.join(', ')}`, {
    hint: 'A key that is overwritten is lost. Choose another prefix, or move the old files away.',
  })
}

/** File systems without hard links answer one of these (FAT, some network file systems). */
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'])

/**
 * Creates `path` with its contents in one step: written beside it, then linked to its name, which unlike a
 * rename fails when the name is taken, be it by a link that points nowhere. Where there are no hard links
 * the file is created exclusively under its own name and removed again if writing fails.
 *
 * @param makeLink as `link` of node:fs/promises.
 * @throws AirgapError `OUTPUT_EXISTS`, `FILE`, `DISK_FULL`
 */
export async function createWhole(
  path: string,
  contents: string,
  mode: number,
  makeLink: (from: string, to: string) => Promise<void> = link,
): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`)
  try {
    await writeNew(temporary, contents, mode)
    try {
      await makeLink(temporary, path)
    } catch (error) {
      if (!NO_LINKS.has(systemCode(error) ?? '')) throw error
      await writeNew(path, contents, mode)
    } finally {
      await remove(temporary)
    }
  } catch (error) {
    throw fileError(error, 'create', path)
  }
}

async function writeNew(path: string, contents: string, mode: number): Promise<void> {
  const handle = await open(path, 'wx', mode)
  try {
    await handle.writeFile(contents)
    await handle.sync()
    await handle.close()
  } catch (error) {
    await handle.close().catch(() => undefined)
    await remove(path)
    throw error
  }
}

async function remove(path: string): Promise<void> {
  try {
    await rm(path)
  } catch (error) {
    throw fileError(error, 'remove', path)
  }
}
