import type { SigningKey } from '../../trust/keys.ts'
import { AirgapError } from '../../errors.ts'
import { openKeyForPlan, openSigningKey, publicHalfOf } from './private-key.ts'

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
  const { readPublicKey } = await import('../../trust/keys.ts')
  const { openSignCommand } = await import('../../trust/sign-command/sign-command.ts')
  return openSignCommand({ command, publicKey: await readPublicKey(publicKey) })
}

/**
 * As {@link openSigner}, for a plan: nobody is asked for a password.
 * @returns `isUnopened` where the key's public half is not to be had either; another of the usual kind stands in for it.
 */
export async function openPlannedSigner(
  flags: SigningFlagValues,
): Promise<{ key: SigningKey | undefined; isUnopened: boolean }> {
  const { key: path, 'password-file': passwordFile } = flags
  if (path === undefined) return { key: await openSigner(flags), isUnopened: false }
  const key = await openKeyForPlan(path, passwordFile)
  if (key) return { key, isUnopened: false }
  const { generateKeyPairSync } = await import('node:crypto')
  const { parsePublicKey } = await import('../../trust/keys.ts')
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = publicKey.export({ type: 'spki', format: 'pem' })
  const sign = (): Promise<Buffer> => Promise.reject(new AirgapError('INTERNAL', 'a stand-in was to sign'))
  return { key: { publicKey: parsePublicKey(Buffer.from(pem), path), sign, warnings: [] }, isUnopened: true }
}

/** The public key's file, as far as the flags say. */
export function publicKeyFile({ key, 'public-key': publicKey }: SigningFlagValues): string | undefined {
  if (key === undefined) return publicKey
  return publicHalfOf(key) ?? 'PUB'
}
