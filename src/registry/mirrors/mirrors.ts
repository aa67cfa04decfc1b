import { AirgapError } from '../../errors.ts'
import { formatReference, type Reference } from '../../oci/reference.ts'
import { authorityOf } from '../net/hosts.ts'
import {
  below,
  type HostAccess,
  type Place,
  type Rule,
  type RuleSet,
  sameRegistry,
  specificity,
  textOf,
} from './rule.ts'

/** A place from which one image can be read. */
export interface ImagePlace extends Place {
  repository: string
  /** The rule that the place comes from. */
  rule: Rule
}

/** The places from which one image is read. */
export interface ImagePlaces {
  /** Mirrors in the order to try; last the place that a file sets instead of the registry, if one does. */
  mirrors: readonly ImagePlace[]
  /** Whether the registry in the image's name is asked after them. */
  asksSource: boolean
  /** The file that says not to ask it. */
  movedBy?: string | undefined
  /** How files say to reach hosts. */
  access: readonly { registry: string; access: HostAccess; origin: string }[]
}

/**
 * All configured mirrors. Several sets are asked in the given order, each for its own mirrors; the source comes last.
 * Within a set, a more specific rule precedes a less specific one; equals keep their order.
 */
export class Mirrors {
  readonly #sets: readonly RuleSet[]
  readonly #told = new Set<string>()

  constructor(sets: readonly RuleSet[] = []) {
    this.#sets = sets.map((set) => ({
      ...set,
      rules: [...set.rules].toSorted((a, b) => specificity(b.scope) - specificity(a.scope)),
    }))
  }

  /**
   * The places from which an image is read.
   * @throws AirgapError `DENIED` where a file blocks it.
   */
  placesOf(image: Reference): ImagePlaces {
    const mirrors: ImagePlace[] = []
    const access: ImagePlaces['access'][number][] = []
    let moved: { rule: Rule; place: ImagePlace | undefined } | undefined
    for (const { rule, rest } of this.#sets.flatMap((set) => matching(set, image))) {
      if (rule.isBlocked) throw blocked(image, image, rule)
      mirrors.push(...rule.mirrors.flatMap((place) => placeAt(place, rest, rule) ?? []))
      const { origin } = rule
      if (rule.ownAccess) access.push({ registry: image.registry, access: rule.ownAccess, origin })
      if (rule.source === 'own' || moved) continue
      const place = rule.source === 'nowhere' ? undefined : placeAt(rule.source, rest, rule)
      if (place && isSource(place, image)) {
        access.push({ registry: image.registry, access: place.access ?? {}, origin })
      } else {
        moved = { rule, place }
      }
    }
    if (moved?.place) mirrors.push(moved.place)
    for (const { registry, access: own, rule } of mirrors) {
      if (own) access.push({ registry, access: own, origin: rule.origin })
    }
    for (const place of mirrors) this.#checkPlace(image, place)
    const usable = mirrors.filter(({ tagOnly }) => tagOnly !== true || image.digest === undefined)
    return {
      mirrors: withoutDoubles(usable, image, moved === undefined),
      asksSource: moved === undefined,
      movedBy: moved?.rule.origin,
      access,
    }
  }

  /** Checks that no file blocks a mirror's place. */
  #checkPlace(image: Reference, place: ImagePlace): void {
    const there = { ...image, registry: place.registry, repository: place.repository }
    for (const { rule } of this.#sets.flatMap((set) => matching(set, there))) {
      if (rule.isBlocked) throw blocked(image, there, rule)
    }
  }

  /** Whether to report something: true once for each key. */
  isNews(key: string): boolean {
    if (this.#told.has(key)) return false
    this.#told.add(key)
    return true
  }
}

function matching({ counts, rules }: RuleSet, image: Reference): { rule: Rule; rest: string }[] {
  const found = rules.flatMap((rule) => {
    const rest = below(rule.scope, image) ?? (rule.isBlocked ? belowAnyPort(rule, image) : undefined)
    return rest === undefined ? [] : [{ rule, rest }]
  })
  return counts === 'all' ? found : found.slice(0, 1)
}

/** Podman blocks a host on all its ports, so a rule without a port counts for all of them. */
function belowAnyPort({ scope }: Rule, image: Reference): string | undefined {
  const registry = image.registry.replace(/:[0-9]+$/, '')
  const forbidsHost = scope.kind === 'subdomains' || (scope.kind === 'path' && scope.path === '')
  return forbidsHost ? below(scope, { ...image, registry }) : undefined
}

function placeAt(place: Place, rest: string, rule: Rule): ImagePlace | undefined {
  const repository = [place.path, rest].filter((part) => part !== '').join('/')
  // There would be no name left.
  return repository === '' ? undefined : { ...place, repository, rule }
}

/** Keeps the first of equal repositories, and drops the source's own if the source is asked anyway. */
function withoutDoubles(places: readonly ImagePlace[], image: Reference, asksSource: boolean): ImagePlace[] {
  const seen = new Set<string>()
  return places.filter((place) => {
    const { registry, repository, apiRoot } = place
    const key = JSON.stringify([authorityOf(registry), apiRoot, repository])
    if ((asksSource && isSource(place, image)) || seen.has(key)) return false
    seen.add(key)
    return true
  })
}

function isSource({ registry, repository, apiRoot }: ImagePlace, image: Reference): boolean {
  // URLs omit their scheme's default port.
  const isSame = sameRegistry(registry, image.registry) || `${registry}:443` === image.registry.toLowerCase()
  return apiRoot === undefined && isSame && repository === image.repository
}

function blocked(image: Reference, place: Reference, { origin, scope }: Rule): AirgapError {
  const where = place === image ? '' : ` from ${formatReference(place)}`
  return new AirgapError('DENIED', `it must not be read${where}: ${origin} blocks ${textOf(scope)}`, {
    subject: formatReference(image),
    hint: ['Use a file that allows it, or do without the image.', { id: 'exclude-image' }],
  })
}

/** The places from which the images of one registry, or of one path in it, are read. */
export interface MirrorUse {
  /** `HOST[:PORT]`, with a path if only images below it are meant. */
  prefix: string
  /** In the order to ask. */
  places: {
    /** As it was configured. */
    location: string
    /** Where it was configured: a flag or a file. */
    origin: string
  }[]
  /** Whether the registry itself is asked after these places. */
  registryItself: boolean
}

/** The mirrors in use for some images: one entry for all images with the same places. */
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
