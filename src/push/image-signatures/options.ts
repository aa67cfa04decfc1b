import { AirgapError } from '../../errors.ts'
import type { ReferrerChoice } from '../../oci/manifest.ts'
import type { Authentication, Trust } from '../../verify/authenticate.ts'
import type { ImageGraph, OpenedBundle } from '../../verify/opened-bundle.ts'
import type { ImageSignatureFormat, ImageSigning } from './plan.ts'
import type { PublicKey, SigningKey } from '../../trust/keys.ts'
import type { Run } from '../../content/run.ts'

export interface ImageSigningOptions {
  key: SigningKey
  /**
   * The formats of the signatures. By default `cosign`, which every tool reads, and also `sigstore-bundle` if an image has
   * Sigstore bundles as referrers, because cosign 3 then ignores other signatures.
   */
  formats?: readonly ImageSignatureFormat[] | undefined
}

/** The options of a push that decide how images are signed. */
interface ImageSigningChoice {
  signImages?: ImageSigningOptions | undefined
  referrers?: ReferrerChoice | undefined
}

/** @throws AirgapError `USAGE` if the list of formats is empty. */
export function checkFormats({ signImages }: ImageSigningChoice): void {
  if (signImages?.formats?.length !== 0) return
  throw new AirgapError('USAGE', 'images are to be signed, but the list of signature formats is empty')
}

/**
 * Decides how to sign the images, once their referrers are known.
 * @throws AirgapError `USAGE` if they must not be signed with this key, or not at all.
 */
export async function imageSigning(
  { signImages, referrers = 'all' }: ImageSigningChoice,
  images: readonly ImageGraph[],
  trust: Trust,
  { authentication }: OpenedBundle,
  onEvent: Run['onEvent'],
): Promise<ImageSigning | undefined> {
  if (!signImages) return undefined
  const { bringsBundles } = await import('./plan.ts')
  const { key, formats } = signImages
  checkImageSigner(key.publicKey, trust.keys, authentication)
  const hasBundles = bringsBundles(images, referrers)
  if (hasBundles && formats && !formats.includes('sigstore-bundle')) {
    const message =
      'images have Sigstore bundles as referrers, and for such images cosign 3 ignores signatures of the format cosign'
    onEvent({ type: 'warning', message, hints: [{ id: 'signature-format' }] })
  }
  return { key, formats: formats ?? (hasBundles ? ['cosign', 'sigstore-bundle'] : ['cosign']) }
}

/**
 * Makes sure that images are signed only after a good verdict and with a separate key. The key for bundles is held
 * outside, and its holder could otherwise make the cluster run images that nobody inside has checked.
 *
 * @param trusted the keys that the bundle is checked with.
 * @throws AirgapError `USAGE`
 */
function checkImageSigner(
  signer: PublicKey,
  trusted: readonly PublicKey[],
  authentication: Authentication,
): void {
  if (authentication.state !== 'signed') throw refuseUnchecked()
  const made = authentication.signatures.flatMap(({ by }) => (by.kind === 'key' ? [by.key] : []))
  const same = [...trusted, ...made].find(({ fingerprint }) => fingerprint === signer.fingerprint)
  if (!same) return
  throw new AirgapError(
    'USAGE',
    `the images would be signed with the bundle's own key: ${signer.source} and ${same.source} are the same key, ${signer.fingerprint}`,
    {
      hint: [
        'The key for images is held inside, and its signature means that the bundle was checked here. Whoever packs bundles must not be able to make that signature. Make a separate key.',
        { id: 'new-key' },
      ],
    },
  )
}

/** The error for unauthenticated bundles: the signature would claim that the images were checked. */
function refuseUnchecked(): AirgapError {
  return new AirgapError('USAGE', 'images of a bundle that was not authenticated cannot be signed', {
    hint: 'The signature tells the cluster that the bundle was checked. Give the key to check the bundle with, or do not sign the images.',
  })
}
