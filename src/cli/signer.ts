import type { SigningKey } from '../trust/keys.ts'
import { openSigningKey } from './private-key.ts'

/** The values of `signingFlags`. */
export interface SigningFlagValues {
  key?: string | undefined
  'password-file'?: string | undefined
  'sign-command'?: string | undefined
  'public-key'?: string | undefined
}

/**
 * The key that the flags name, open for signing; undefined where they name none.
 * @throws AirgapError `USAGE` for a sign command that cannot be used, `INVALID_KEY`, `FILE`, `PASSWORD`
 */
export async function openSigner(flags: SigningFlagValues): Promise<SigningKey | undefined> {
  const { key, 'sign-command': command, 'public-key': publicKey } = flags
  if (key !== undefined) return openSigningKey(key, flags['password-file'])
  if (command === undefined || publicKey === undefined) return undefined
  const { readPublicKey } = await import('../trust/keys.ts')
  const { openSignCommand } = await import('../trust/sign-command/sign-command.ts')
  return openSignCommand({ command, publicKey: await readPublicKey(publicKey) })
}

/** The public key's file, as far as the flags say: beside `airgap.key` lies `airgap.pub`. */
export function publicKeyFile({ key, 'public-key': publicKey }: SigningFlagValues): string | undefined {
  if (key === undefined) return publicKey
  // keygen and cosign name pairs so. Where the other half of any other file is, nobody can tell.
  return key.endsWith('.key') ? `${key.slice(0, -'.key'.length)}.pub` : 'PUB'
}
