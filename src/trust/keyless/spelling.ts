import { BUNDLE_V03_MEDIA_TYPE, bundleFromJSON, bundleToJSON } from '@sigstore/bundle'
import { AirgapError } from '../../errors.ts'
import { parseStrictJson } from '../../oci/json.ts'

/**
 * Bytes of `SHA256SUMS.sigstore.json` with a certificate in it. The entry stands in front of everything else, so that
 * its size has to be known before the signature is made, and that is made last. A bundle with a certificate, a log
 * entry and a timestamp has some 10 KiB.
 */
export const CERTIFICATE_BUNDLE_SIZE = 64 * 1024

/**
 * A Sigstore bundle with a certificate in the one spelling that it has in a bundle of ours: the members that
 * sigstore/protobuf-specs knows and no others, in the order and form of its JSON, on one line without white space between
 * them; then blanks; then a newline, with which it has {@link CERTIFICATE_BUNDLE_SIZE} bytes.
 *
 * A reader gives the whole entry, and insists that it gets the same bytes back: white space, order and unknown members
 * are not signed, and could be altered unnoticed otherwise.
 *
 * @param json in any spelling, with white space around it or not.
 * @throws AirgapError `INVALID_CONTENT` for what is no Sigstore bundle, or too large for its place.
 */
export function spellCertificateBundle(json: Uint8Array): Buffer {
  const what = 'Sigstore bundle'
  const line = Buffer.from(JSON.stringify(respelled(parseStrictJson(json, what), what)))
  if (line.length >= CERTIFICATE_BUNDLE_SIZE) {
    throw new AirgapError(
      'INVALID_CONTENT',
      `it has ${line.length} bytes, and its place in a bundle has room for ${CERTIFICATE_BUNDLE_SIZE - 1}`,
      { subject: what },
    )
  }
  const spelled = Buffer.alloc(CERTIFICATE_BUNDLE_SIZE, ' ')
  line.copy(spelled)
  spelled.write('\n', CERTIFICATE_BUNDLE_SIZE - 1)
  return spelled
}

function respelled(value: unknown, what: string): unknown {
  try {
    const bundle = bundleFromJSON(value)
    if (bundle.mediaType === BUNDLE_V03_MEDIA_TYPE) return bundleToJSON(bundle)
  } catch (error) {
    // The library says of foreign values whatever JavaScript says.
    throw new AirgapError('INVALID_CONTENT', `its contents do not make one`, { subject: what, cause: error })
  }
  // The version is not signed either, and older ones have room for what nobody looks at.
  throw new AirgapError('INVALID_CONTENT', `it is not one of version 0.3, as its media type says`, {
    subject: what,
  })
}
