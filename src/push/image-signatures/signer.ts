import { AirgapError } from '../../errors.ts'
import type { PublicKey } from '../../trust/keys.ts'
import type { Authentication } from '../../verify/authenticate.ts'

/**
 * Insists that images are signed only after a good verdict, and with a key of its own: one that bundles are signed with
 * is held outside, and whoever has it could otherwise make the cluster run what no one inside has checked.
 *
 * @param trusted the keys that the bundle is checked with.
 * @throws AirgapError `USAGE`
 */
export function checkImageSigner(
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
      hint: 'The key for images is held inside and says that the bundle was checked here; who packs bundles must not be able to say that. Make one for it: airgap keygen --output-key-prefix cluster',
    },
  )
}

/** A signature over what nobody vouches for would vouch for it. */
function refuseUnchecked(): AirgapError {
  return new AirgapError('USAGE', 'images of a bundle that was not authenticated cannot be signed', {
    hint: 'A signature tells the cluster that the bundle was checked. Give the key to check it with (--key) instead of --allow-unsigned, or push without --sign-images.',
  })
}
