import { formatChecksums } from '../../src/bundle/checksums.ts'
import { CHECKSUMS, SIGSTORE_SIGNATURE } from '../../src/bundle/names.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { spellCertificateBundle } from '../../src/trust/keyless/spelling.ts'
import { contentEntries, entry, type Draft, type Entry } from '../support/build-bundle.ts'

/** A draft as an unsigned bundle's entries. */
export function unsignedEntries(draft: Draft): Entry[] {
  const content = contentEntries(draft)
  const checksums = formatChecksums(content.map(({ name, content: bytes }) => [name, digestOf(bytes)]))
  return [entry(CHECKSUMS, checksums), ...content]
}

/**
 * A draft as the entries of a bundle that is signed with a certificate.
 * @param sign gives a Sigstore bundle over `SHA256SUMS`.
 * @param spell how it is written into the bundle; as it has to be, unless given.
 */
export async function certifiedEntries(
  draft: Draft,
  sign: (checksums: Buffer) => Promise<Uint8Array>,
  spell: (json: Uint8Array) => Uint8Array = spellCertificateBundle,
): Promise<Entry[]> {
  const [checksums, ...content] = unsignedEntries(draft)
  if (!checksums) throw new Error('a bundle has a list of checksums')
  const signature = spell(await sign(Buffer.from(checksums.content)))
  return [checksums, entry(SIGSTORE_SIGNATURE, signature), ...content]
}
