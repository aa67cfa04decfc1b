import { AirgapError } from '../../errors.ts'
import { formatReference, type Reference } from '../../oci/reference.ts'
import type { RegistryClient } from '../client.ts'
import type { Repository } from '../repository.ts'
import type { ImagePlace, Mirrors } from './mirrors.ts'
import { sameRegistry } from './rule.ts'

/** The repositories that one image can be read from. */
export interface Sources {
  /** For content with a digest, in the order to try; the source is last. */
  all: Repository[]
  /** The repository in the image's name; undefined if a file says to read elsewhere. */
  source: Repository | undefined
  /** The file that says so. */
  movedBy: string | undefined
  /** Mirrors that may resolve tags, if mirrors may do that at all, in the order to ask. */
  naming: { repository: Repository; pulls: boolean }[]
}

/**
 * The repositories to read an image from: those of its mirrors, in order, and the source.
 * @throws AirgapError `INVALID_REFERENCE` where a mirror's prefix makes the repository name too long; `DENIED` where a
 *   file blocks the image; `USAGE` where files leave no place at all.
 */
export function sourcesFor(client: RegistryClient, image: Reference, mirrors?: Mirrors): Sources {
  const places = mirrors?.placesOf(image)
  const found = (places?.mirrors ?? []).map((place) => ({
    pulls: place.pulls,
    resolves: place.resolves,
    repository: client.repository(place.registry, place.repository, {
      apiRoot: place.apiRoot,
      namespace:
        place.wantsNamespace && !sameRegistry(place.registry, image.registry) ? image.registry : undefined,
      onPassedOver: (error) => passedOver(client, mirrors, place, error),
    }),
  }))
  const source =
    places?.asksSource === false ? undefined : client.repository(image.registry, image.repository)
  const pulling = found.filter(({ pulls }) => pulls).map(({ repository }) => repository)
  const all = source ? [...pulling, source] : pulling
  if (all.length === 0) {
    throw new AirgapError(
      'USAGE',
      `${formatReference(image)} cannot be read anywhere: ${places?.movedBy} excludes ${image.registry} and names no other place`,
      { hint: ['Use a file that names a place, or add a mirror.', { id: 'mirror', registry: undefined }] },
    )
  }
  return {
    all,
    source,
    movedBy: places?.movedBy,
    naming: found.filter(({ resolves }) => resolves).map(({ repository, pulls }) => ({ repository, pulls })),
  }
}

/**
 * Reports a mirror's error once, except for missing content, which is normal for mirrors. Most errors can be fixed, and
 * would otherwise go unnoticed.
 */
function passedOver(
  client: RegistryClient,
  mirrors: Mirrors | undefined,
  { registry }: ImagePlace,
  { code, message, hints }: AirgapError,
): void {
  if (code === 'NOT_FOUND' || !mirrors?.isNews(`${registry} ${code}`)) return
  client.shared.onNotice({
    type: 'warning',
    message: `the mirror ${registry} is skipped: ${message}`,
    hints: hints.slice(0, 1),
  })
}
