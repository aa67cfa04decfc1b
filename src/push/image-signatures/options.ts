import { AirgapError } from '../../errors.ts'
import type { ReferrerChoice } from '../../oci/referrer.ts'
import type { TrustOptions } from '../../verify/authenticate.ts'
import type { ImageGraph, OpenedBundle } from '../../verify/opened-bundle.ts'
import type { ImageSignatureFormat, ImageSigning } from './plan.ts'
import type { SigningKey } from '../../trust/keys.ts'
import type { Run } from '../../content/run.ts'

export interface ImageSigningOptions {
  key: SigningKey
  /**
   * Layouts of the signatures. Where left out: `cosign`, which every tool reads; and `sigstore-bundle` besides where an
   * image brings Sigstore bundles along, as cosign 3 then looks at nothing else.
   */
  formats?: readonly ImageSignatureFormat[] | undefined
}

/** What of a push's options decides how images are signed. */
interface ImageSigningChoice {
  signImages?: ImageSigningOptions | undefined
  referrers?: ReferrerChoice | undefined
}

/** @throws AirgapError `USAGE` for an empty list of formats. */
export function checkFormats({ signImages }: ImageSigningChoice): void {
  if (signImages?.formats?.length !== 0) return
  throw new AirgapError('USAGE', 'images are to be signed, and no format of signatures is given')
}

/**
 * What images are signed with, once it is known what they bring along.
 * @throws AirgapError `USAGE` where they must not be signed with this key, or not at all.
 */
export async function imageSigning(
  { signImages, referrers = 'all' }: ImageSigningChoice,
  images: readonly ImageGraph[],
  trust: TrustOptions,
  { authentication }: OpenedBundle,
  onEvent: Run['onEvent'],
): Promise<ImageSigning | undefined> {
  if (!signImages) return undefined
  const { bringsBundles } = await import('./plan.ts')
  const { checkImageSigner } = await import('./signer.ts')
  const { key, formats } = signImages
  checkImageSigner(key.publicKey, trust.keys, authentication)
  const hasBundles = bringsBundles(images, referrers)
  if (hasBundles && formats && !formats.includes('sigstore-bundle')) {
    const message =
      'images bring Sigstore bundles along, and where there are such cosign 3 does not look at the signatures of the format cosign: leave --image-signature-format out, or add sigstore-bundle'
    onEvent({ type: 'warning', message })
  }
  return { key, formats: formats ?? (hasBundles ? ['cosign', 'sigstore-bundle'] : ['cosign']) }
}
