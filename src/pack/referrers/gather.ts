import type { ImageEntry } from '../../bundle/description.ts'
import { unrooted, type ReferrerEntry } from '../../bundle/referrers.ts'
import { AirgapError } from '../../errors.ts'
import type { Repository } from '../../registry/repository.ts'
import { closureOf, type Closure, type KnownSizes } from '../../content/graph.ts'
import { Limits, WITHOUT_REFERRERS, type RunLimits } from '../../content/limits.ts'
import {
  otherField,
  referrerEntry,
  referrerFault,
  rootsOf,
  type ReferrerGraph,
} from '../../content/referrers.ts'
import type { DocumentCache } from '../sources.ts'

interface Options {
  cache: DocumentCache
  repositories: readonly Repository[]
  sizes: KnownSizes
  run: RunLimits
  signal?: AbortSignal
}

/**
 * Reads again, by digest, what a lock says refers to an image, with everything that it reaches: exactly that travels,
 * whatever a registry lists by now.
 *
 * @throws AirgapError `INVALID_LOCK` where the lock says otherwise than the documents; the registry's errors, which name
 *   the image and what is not to be had of it.
 */
export async function gatherReferrers(
  image: ImageEntry,
  closure: Closure,
  options: Options,
): Promise<ReferrerGraph[]> {
  const { source, referrers = [] } = image
  const [stray] = unrooted(referrers, rootsOf(image, closure))
  if (stray) throw wrong(source, stray, `it leads to nothing of the image`)
  const gathered: ReferrerGraph[] = []
  const limits = new Limits(options.run, { image: source, of: 'referrers', hint: WITHOUT_REFERRERS })
  for (const entry of referrers) gathered.push(await gather(source, entry, limits, options))
  return gathered
}

async function gather(
  source: string,
  entry: ReferrerEntry,
  limits: Limits,
  { cache, repositories, sizes, signal }: Options,
): Promise<ReferrerGraph> {
  try {
    const document = limits.read(await cache.fetch(entry.digest, repositories, signal))
    const fault = referrerFault(document, entry)
    if (fault !== undefined) throw wrong(source, entry, fault)
    const root = { mediaType: document.mediaType, digest: document.digest, size: document.bytes.length }
    const load = limits.counting(cache.loader(repositories, signal))
    const closure = await closureOf(root, load, source, sizes, limits)
    const field = otherField(entry, referrerEntry(document, closure, entry))
    if (field !== undefined)
      throw wrong(source, entry, `the lock gives it another ${field} than the registry does`)
    return { entry, closure }
  } catch (error) {
    if (!(error instanceof AirgapError) || error.code !== 'NOT_FOUND') throw error
    const { message, problems } = error
    throw new AirgapError('NOT_FOUND', `${source}: ${what(entry)} is not to be had any more: ${message}`, {
      hint: 'Make the lock again with `airgap resolve`: it then has what refers to the image now.',
      problems,
      cause: error,
    })
  }
}

function wrong(source: string, entry: ReferrerEntry, why: string): AirgapError {
  return new AirgapError('INVALID_LOCK', `${source}: ${what(entry)}: ${why}`, {
    hint: 'Make the lock again with `airgap resolve`.',
  })
}

function what({ digest, tag, subject }: ReferrerEntry): string {
  return tag === undefined ? `${digest}, which refers to ${subject},` : `${digest}, tagged ${tag},`
}
