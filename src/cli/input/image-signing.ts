import { AirgapError } from '../../errors.ts'
import type { ImageSigningOptions } from '../../push/image-signatures/options.ts'
import type { ImageSignatureFormat } from '../../push/image-signatures/plan.ts'
import { openKeyForPlan, openSigningKey } from './private-key.ts'

/** Comes before the variables of all keys, so that two keys of one command can have two passwords. */
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
 * What `push` signs images with.
 * @throws AirgapError `USAGE` together with `--allow-unsigned`; `FILE`, `INVALID_KEY`, `PASSWORD`
 */
export async function imageSigningFrom(
  flags: ImageSigningFlagValues,
  onWarning: (message: string) => void,
): Promise<ImageSigningOptions | undefined> {
  const path = flags['sign-images']
  if (path === undefined) return undefined
  if (flags['allow-unsigned']) {
    throw new AirgapError('USAGE', '--sign-images and --allow-unsigned exclude each other', {
      hint: 'A signature tells the cluster that the bundle was checked. Give the key to check it with, --key airgap.pub.',
    })
  }
  const place = { flag: '--sign-images-password-file', variable: OWN_PASSWORD_VARIABLE }
  const passwordFile = flags['sign-images-password-file']
  const planned = flags['dry-run'] ? await openKeyForPlan(path, passwordFile, place) : undefined
  const key = planned ?? (await openSigningKey(path, passwordFile, undefined, place))
  for (const message of key.warnings) onWarning(message)
  return { key, formats: flags['image-signature-format'] }
}
