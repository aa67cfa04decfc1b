import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './processes.ts'

/** The kinds of key that may sign, and how openssl makes them. */
export const KINDS: Readonly<Record<string, readonly string[]>> = {
  'p-256': ['EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  'p-384': ['EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  'rsa-2048': ['RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
  'rsa-3072': ['RSA', '-pkeyopt', 'rsa_keygen_bits:3072'],
  'rsa-4096': ['RSA', '-pkeyopt', 'rsa_keygen_bits:4096'],
}

/** Makes `KIND.key` and `KIND.pub` in a folder. */
export async function makeKeys(folder: string, kind: string): Promise<{ key: string; pub: string }> {
  const [key, pub] = [join(folder, `${kind}.key`), join(folder, `${kind}.pub`)]
  await run('openssl', ['genpkey', '-algorithm', ...(KINDS[kind] ?? []), '-out', key])
  await chmod(key, 0o600)
  await run('openssl', ['pkey', '-in', key, '-pubout', '-out', pub])
  return { key, pub }
}

export const HSM_MODULE = '/usr/lib/softhsm/libsofthsm2.so'
const HSM_PIN = '24680135'

/** A token of SoftHSM's with a P-256 key (01) and an RSA key (02), and their public keys as `01.pub` and `02.pub`. */
export async function makeToken(folder: string): Promise<NodeJS.ProcessEnv> {
  const tokens = join(folder, 'tokens')
  await mkdir(tokens)
  const conf = join(folder, 'softhsm2.conf')
  await writeFile(conf, `directories.tokendir = ${tokens}\n`)
  const env = { PATH: process.env['PATH'], HOME: folder, SOFTHSM2_CONF: conf, HSM_PIN }
  const init = ['--init-token', '--free', '--label', 'airgap', '--pin', HSM_PIN, '--so-pin', HSM_PIN]
  await run('softhsm2-util', init, { env })
  const tool = ['--module', HSM_MODULE, '--login', '--pin', 'env:HSM_PIN']
  for (const [id, type] of [
    ['01', 'EC:prime256v1'],
    ['02', 'rsa:2048'],
  ] as const) {
    await run('pkcs11-tool', [...tool, '--keypairgen', '--key-type', type, '--id', id], { env })
    const der = join(folder, `${id}.der`)
    await run('pkcs11-tool', [...tool, '--read-object', '--type', 'pubkey', '--id', id, '-o', der], { env })
    await run('openssl', ['pkey', '-pubin', '-inform', 'DER', '-in', der, '-out', join(folder, `${id}.pub`)])
  }
  return env
}
