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

/** A place where one image can be read. */
export interface ImagePlace extends Place {
  repository: string
  /** The rule that names it. */
  rule: Rule
}

/** Where one image is read. */
export interface ImagePlaces {
  /** Mirrors in the order to try; behind them the place that a file gives in place of the registry, if one does. */
  mirrors: readonly ImagePlace[]
  /** Whether the registry that the name says is asked behind them. */
  asksSource: boolean
  /** The file by which it is not asked. */
  movedBy?: string | undefined
  /** How hosts are spoken to, as far as files say so. */
  access: readonly { registry: string; access: HostAccess; origin: string }[]
}

/**
 * All that is configured of mirrors. Several sets are asked in the order given, each for its own mirrors; the source
 * comes last. Within a set a more specific rule goes before a less specific one, and of equals the first.
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
   * Where an image is read.
   * @throws AirgapError `DENIED` where a file forbids to read it.
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

  /** A place can be in what a file blocks, too. */
  #checkPlace(image: Reference, place: ImagePlace): void {
    const there = { ...image, registry: place.registry, repository: place.repository }
    for (const { rule } of this.#sets.flatMap((set) => matching(set, there))) {
      if (rule.isBlocked) throw blocked(image, there, rule)
    }
  }

  /** Whether something is to be told now: each once, however often it comes up. */
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

/** Podman blocks a host on all its ports, so a file that forbids one means them all. */
function belowAnyPort({ scope }: Rule, image: Reference): string | undefined {
  const registry = image.registry.replace(/:[0-9]+$/, '')
  const forbidsHost = scope.kind === 'subdomains' || (scope.kind === 'path' && scope.path === '')
  return forbidsHost ? below(scope, { ...image, registry }) : undefined
}

function placeAt(place: Place, rest: string, rule: Rule): ImagePlace | undefined {
  const repository = [place.path, rest].filter((part) => part !== '').join('/')
  // Nothing would be left for a name.
  return repository === '' ? undefined : { ...place, repository, rule }
}

/** Each repository once, where it comes first; the source's own only as the source. */
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
  // URLs leave the port of their scheme out.
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
