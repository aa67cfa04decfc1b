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
      'images bring Sigstore bundles along, and where there are such cosign 3 does not look at the signatures of the format cosign'
    onEvent({ type: 'warning', message, hints: [{ id: 'signature-format' }] })
  }
  return { key, formats: formats ?? (hasBundles ? ['cosign', 'sigstore-bundle'] : ['cosign']) }
}

/**
 * Insists that images are signed only after a good verdict, and with a key of its own: one that bundles are signed with
 * is held outside, and whoever has it could otherwise make the cluster run what no one inside has checked.
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
        'The key for images is held inside and says that the bundle was checked here; who packs bundles must not be able to say that. Make one for it.',
        { id: 'new-key' },
      ],
    },
  )
}

/** A signature over what nobody vouches for would vouch for it. */
function refuseUnchecked(): AirgapError {
  return new AirgapError('USAGE', 'images of a bundle that was not authenticated cannot be signed', {
    hint: 'A signature tells the cluster that the bundle was checked. Give the key to check it with, or do not sign the images.',
  })
}
