import type { SigningKey, KeylessOptions, ImageSigningOptions, ImageSignatureFormat } from '../../index.ts'
import { AirgapError } from '../../errors.ts'
import { openKeyForPlan, openSigningKey, publicHalfOf } from './private-key.ts'
import { Flags } from '@oclif/core'

/** Takes precedence over the variables for all keys, so that two keys of one command can have two passwords. */
const OWN_PASSWORD_VARIABLE = 'AIRGAP_SIGN_IMAGES_PASSWORD'

/** The values of `imageSigningFlags`, and what they depend on. */
interface ImageSigningFlagValues {
  'sign-images'?: string | undefined
  'sign-images-password-file'?: string | undefined
  'image-signature-format'?: ImageSignatureFormat[] | undefined
  'allow-unsigned': boolean
  'dry-run'?: boolean | undefined
}

/**
 * The key with which `push` signs images.
 * @throws AirgapError `USAGE` if `--allow-unsigned` is given too; `FILE`, `INVALID_KEY`, `PASSWORD`
 */
export async function imageSigningFrom(
  flags: ImageSigningFlagValues,
  onWarning: (message: string) => void,
): Promise<ImageSigningOptions | undefined> {
  const path = flags['sign-images']
  if (path === undefined) return undefined
  if (flags['allow-unsigned']) {
    throw new AirgapError('USAGE', '--sign-images and --allow-unsigned cannot be used together', {
      hint: 'A signature tells the cluster that the bundle was checked. Give the key to check it with: --key airgap.pub',
    })
  }
  const place = { flag: '--sign-images-password-file', variable: OWN_PASSWORD_VARIABLE }
  const passwordFile = flags['sign-images-password-file']
  const planned = flags['dry-run'] ? await openKeyForPlan(path, passwordFile, place) : undefined
  const key = planned ?? (await openSigningKey(path, passwordFile, undefined, place))
  for (const message of key.warnings) onWarning(message)
  return { key, formats: flags['image-signature-format'] }
}

/** For pack: signing without a key of your own. */
export const keylessFlags = {
  keyless: Flags.boolean({
    description:
      "Sign with a short-lived Sigstore certificate for this CI job's identity token. The identity and the bundle's SHA-256 stay in a public log forever",
    exclusive: ['key', 'sign-command', 'no-sign'],
    helpGroup: 'SIGNING',
  }),
  'identity-token-file': Flags.string({
    description:
      'File with the identity token for --keyless; by default SIGSTORE_ID_TOKEN, or the token of GitHub Actions',
    helpValue: 'FILE',
    helpGroup: 'SIGNING',
  }),
  'signing-config': Flags.string({
    description:
      "Sigstore SigningConfig v0.2 that names the services for --keyless; by default Sigstore's public ones",
    helpValue: 'FILE',
    helpGroup: 'SIGNING',
  }),
  'trusted-root': Flags.string({
    description:
      'trusted_root.json to check certificates with: those of upstreams (--verify-upstream), and the one from --keyless before the bundle is finished',
    helpValue: 'FILE',
    helpGroup: 'SIGNING',
  }),
}

interface KeylessFlagValues {
  keyless: boolean
  'identity-token-file'?: string | undefined
  'signing-config'?: string | undefined
  'trusted-root'?: string | undefined
  'verify-upstream'?: string[] | undefined
}

/**
 * The options for keyless signing; undefined without `--keyless`.
 * @throws AirgapError `USAGE`
 */
export function keylessFrom(flags: KeylessFlagValues): KeylessOptions | undefined {
  const names = ['identity-token-file', 'signing-config', 'trusted-root'] as const
  // The same root is for the certificates of upstreams.
  const isForUpstream = (flags['verify-upstream'] ?? []).length > 0
  const idle = names.find((name) => flags[name] !== undefined && !(name === 'trusted-root' && isForUpstream))
  if (flags.keyless) {
    const file = flags['identity-token-file']
    return {
      identityToken: file === undefined ? undefined : { file },
      signingConfig: flags['signing-config'],
      trustedRoot: flags['trusted-root'],
    }
  }
  if (idle === undefined) return undefined
  throw new AirgapError(
    'USAGE',
    `--${idle} needs --keyless${idle === 'trusted-root' ? ' or --verify-upstream' : ''}`,
  )
}

/** The values of `signingFlags`. */
export interface SigningFlagValues {
  key?: string | undefined
  'password-file'?: string | undefined
  'sign-command'?: string | undefined
  'public-key'?: string | undefined
}

/**
 * Opens the key that the flags name, for signing; undefined if they name none.
 * @throws AirgapError `USAGE` if the sign command cannot be used; `INVALID_KEY`, `FILE`, `PASSWORD`
 */
export async function openSigner(flags: SigningFlagValues): Promise<SigningKey | undefined> {
  const { key, 'sign-command': command, 'public-key': publicKey } = flags
  if (key !== undefined) return openSigningKey(key, flags['password-file'])
  if (command === undefined || publicKey === undefined) return undefined
  const { readPublicKey, openSignCommand } = await import('../../index.ts')
  return openSignCommand({ command, publicKey: await readPublicKey(publicKey) })
}

/**
 * As {@link openSigner}, for a plan: does not ask for a password.
 * @returns `isUnopened` if there is no public key either; then `key` is a stand-in of the usual kind.
 */
export async function openPlannedSigner(
  flags: SigningFlagValues,
): Promise<{ key: SigningKey | undefined; isUnopened: boolean }> {
  const { key: path, 'password-file': passwordFile } = flags
  if (path === undefined) return { key: await openSigner(flags), isUnopened: false }
  const key = await openKeyForPlan(path, passwordFile)
  if (key) return { key, isUnopened: false }
  const { generateKeyPairSync } = await import('node:crypto')
  const { parsePublicKey } = await import('../../index.ts')
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = publicKey.export({ type: 'spki', format: 'pem' })
  const sign = (): Promise<Buffer> =>
    Promise.reject(new AirgapError('INTERNAL', 'a stand-in key tried to sign'))
  return {
    key: { publicKey: await parsePublicKey(Buffer.from(pem), path), sign, warnings: [] },
    isUnopened: true,
  }
}

/** The file of the public key, as far as the flags tell. */
export function publicKeyFile({ key, 'public-key': publicKey }: SigningFlagValues): string | undefined {
  if (key === undefined) return publicKey
  return publicHalfOf(key) ?? 'PUB'
}
