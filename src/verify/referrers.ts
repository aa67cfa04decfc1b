import type { ImageEntry } from '../bundle/description.ts'
import { unrooted, type ReferrerEntry } from '../bundle/referrers.ts'
import { DESCRIPTION } from '../bundle/names.ts'
import { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { ManifestOrIndex } from '../oci/manifest.ts'
import { closureOf, type Closure, type KnownSizes, type LoadDocument } from '../content/graph.ts'
import { Limits, type RunLimits } from '../content/limits.ts'
import {
  otherField,
  referrerEntry,
  referrerFault,
  rootsOf,
  type ReferrerGraph,
} from '../content/referrers.ts'

/** Where the documents are read from. */
interface Documents {
  load: LoadDocument
  loadUntyped(digest: Digest): Promise<ManifestOrIndex>
}

/**
 * Step 5 for what travels along with an image: everything listed is there with all that it reaches, is what its entry
 * says, and leads to this image, directly or by another one of the list; nothing is listed that the image delivers by
 * itself.
 *
 * @throws AirgapError `INVALID_CONTENT` and what loading throws.
 */
export async function walkReferrers(
  image: ImageEntry,
  closure: Closure,
  documents: Documents,
  { sizes, run }: { sizes: KnownSizes; run: RunLimits },
): Promise<ReferrerGraph[]> {
  const { source, referrers = [] } = image
  const [stray] = unrooted(referrers, rootsOf(image, closure))
  if (stray) throw fault(source, stray, 'leads to nothing of the image')
  const graphs: ReferrerGraph[] = []
  const limits = new Limits(run, { of: 'referrers' })
  const load = limits.counting(documents.load)
  for (const entry of referrers) {
    if (entry.tag === undefined && closure.documents.has(entry.digest))
      throw fault(source, entry, 'is delivered with the image as it is')
    const document = limits.read(await documents.loadUntyped(entry.digest))
    const wrong = referrerFault(document, entry)
    if (wrong !== undefined) throw fault(source, entry, `is not what the list says: ${wrong}`)
    const root = { mediaType: document.mediaType, digest: document.digest, size: document.bytes.length }
    const below = await closureOf(root, load, source, sizes, limits)
    const field = otherField(entry, referrerEntry(document, below, entry))
    if (field !== undefined) throw fault(source, entry, `has another ${field} in its own document`)
    graphs.push({ entry, closure: below })
  }
  return graphs
}

function fault(source: string, { digest, tag }: ReferrerEntry, what: string): AirgapError {
  const name = tag === undefined ? digest : `${digest} (${tag})`
  return new AirgapError('INVALID_CONTENT', `${DESCRIPTION}: ${source}: referrers: ${name} ${what}`)
}
