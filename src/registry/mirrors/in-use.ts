import type { Reference } from '../../oci/reference.ts'
import type { ImagePlaces } from './mirrors.ts'
import { specificity, textOf } from './scope.ts'

/** Where the images of one registry, or those below one path of it, are read. */
export interface MirrorUse {
  /** `HOST[:PORT]`, with a path where only images below it are meant. */
  prefix: string
  /** In the order in which they are asked. */
  places: {
    /** As it was configured. */
    location: string
    /** Where: a flag or a file. */
    origin: string
  }[]
  /** Whether the registry itself is asked, behind the places. */
  registryItself: boolean
}

/** The mirrors that are in use for some images: one entry for all that are read alike. */
export function mirrorsInUse(images: readonly { image: Reference; places: ImagePlaces }[]): MirrorUse[] {
  const uses = new Map<string, MirrorUse>()
  for (const { image, places } of images) {
    if (places.mirrors.length === 0) continue
    const scopes = places.mirrors.map(({ rule }) => rule.scope)
    const [narrowest] = scopes.toSorted((a, b) => specificity(b) - specificity(a))
    const use: MirrorUse = {
      prefix: narrowest?.kind === 'path' ? textOf(narrowest) : image.registry,
      places: places.mirrors.map(({ text, rule }) => ({ location: text, origin: rule.origin })),
      registryItself: places.asksSource,
    }
    uses.set(JSON.stringify(use), use)
  }
  return [...uses.values()].toSorted((a, b) => (a.prefix < b.prefix ? -1 : 1))
}
