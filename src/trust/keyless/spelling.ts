import { BUNDLE_V03_MEDIA_TYPE, bundleFromJSON, bundleToJSON } from '@sigstore/bundle'
import { AirgapError } from '../../errors.ts'
import { parseStrictJson } from '../../oci/json.ts'

/**
 * Size in bytes of `SHA256SUMS.sigstore.json` with a certificate. The entry comes first in the archive, so its size
 * must be known before the signature is made, which happens last. A Sigstore bundle with a certificate, a log entry and
 * a timestamp has about 10 KiB.
 */
export const CERTIFICATE_BUNDLE_SIZE = 64 * 1024

/**
 * The canonical form of a Sigstore bundle with a certificate in our bundles: only the members that
 * sigstore/protobuf-specs knows, in the order and form of its JSON, on one line without white space; then spaces; then
 * a newline, so that it has {@link CERTIFICATE_BUNDLE_SIZE} bytes in total.
 *
 * A verifier passes the whole entry and requires the same bytes in return. White space, order and unknown members are
 * not signed, and could otherwise be altered unnoticed.
 *
 * @param json in any form, with or without white space around it.
 * @throws AirgapError `INVALID_CONTENT` if it is not a Sigstore bundle, or too large.
 */
export function spellCertificateBundle(json: Uint8Array): Buffer {
  const what = 'Sigstore bundle'
  const line = Buffer.from(JSON.stringify(respelled(parseStrictJson(json, what), what)))
  if (line.length >= CERTIFICATE_BUNDLE_SIZE) {
    throw new AirgapError(
      'INVALID_CONTENT',
      `it has ${line.length} bytes, but a bundle has room for ${CERTIFICATE_BUNDLE_SIZE - 1}`,
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
    // For invalid values, the library may throw anything.
    throw new AirgapError('INVALID_CONTENT', `its content is not valid`, { subject: what, cause: error })
  }
  // The version is not signed either, and older versions allow members that nobody checks.
  throw new AirgapError('INVALID_CONTENT', `it is not of version 0.3, by its media type`, {
    subject: what,
  })
}
