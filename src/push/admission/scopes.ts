import { AirgapError, type Problem } from '../../errors.ts'
import { isRegistryHost, isRepository, nameOf } from '../../oci/reference.ts'
import { hostPart, mapName, type NamingOptions } from '../names.ts'
import { prefixOf, type PolicyInputs } from './policy.ts'

/** A prefix of names in the target, and the prefix of the source names in signatures that it corresponds to. */
export interface Scope {
  scope: string
  signed: string
}

/** The registries that most images come from: the default sources with full names. */
export const USUAL_SOURCES = [
  'docker.io',
  'gcr.io',
  'ghcr.io',
  'mcr.microsoft.com',
  'public.ecr.aws',
  'quay.io',
  'registry.k8s.io',
]

/**
 * Maps prefixes of names in the target to prefixes of source names, for `remapIdentity` of containers/image. Follows the
 * naming rules of the push.
 *
 * @throws AirgapError `USAGE` if several sources have the same prefix in the target, or a source has none.
 */
export function scopesOf(inputs: PolicyInputs): Scope[] {
  const { targets, path, maps } = inputs
  const sources = new Set([...inputs.sources.map((text) => checkSource(text)), ...namesOf(inputs)])
  if (path !== 'flat') for (const { from } of maps) sources.add(checkSource(from))
  if (sources.size === 0) {
    if (path !== 'full') throw noSources(path)
    for (const source of USUAL_SOURCES) sources.add(source)
  }
  const scopes: Scope[] = []
  for (const target of targets) {
    for (const signed of [...sources].toSorted()) {
      const place = placeOf(signed, { target, path, maps })
      scopes.push({ scope: [prefixOf(target), place].filter(Boolean).join('/'), signed })
    }
  }
  refuseConflicts(scopes)
  return scopes
}

/** The sources of images. With full names the registry is enough; the other naming rules depend on the repository. */
function namesOf({ images, path }: PolicyInputs): string[] {
  return images.map((reference) => (path === 'full' ? reference.registry : nameOf(reference)))
}

/** @throws AirgapError `USAGE` */
export function checkSource(text: string): string {
  const slash = text.indexOf('/')
  const registry = slash < 0 ? text : text.slice(0, slash)
  const isQualified = /[.:]/.test(registry) || registry === 'localhost'
  if (isQualified && isRegistryHost(registry) && (slash < 0 || isRepository(text.slice(slash + 1))))
    return text
  throw new AirgapError('USAGE', `${JSON.stringify(text)} is not a source registry, with or without a path`, {
    hint: 'Write it as in lists and receipts, without tag and digest: docker.io, quay.io/prometheus.',
  })
}

function placeOf(source: string, naming: NamingOptions): string {
  const slash = source.indexOf('/')
  if (slash >= 0) {
    return mapName({ registry: source.slice(0, slash), repository: source.slice(slash + 1) }, naming)
  }
  if (naming.path === 'flat') throw noSources('flat')
  const mapped = naming.maps.find(({ from }) => from === source)
  if (mapped) return mapped.to
  return naming.path === 'full' ? hostPart(source) : ''
}

/** Refuses prefixes in the target that several sources share: it would not be clear which image a name means. */
function refuseConflicts(scopes: readonly Scope[]): void {
  const problems: Problem[] = []
  for (const [scope, alike] of Map.groupBy(scopes, (one) => one.scope)) {
    if (alike.length < 2) continue
    problems.push({ entry: scope, message: alike.map(({ signed }) => signed).join(', ') })
  }
  if (problems.length === 0) return
  throw new AirgapError('USAGE', 'several sources have the same prefix in the target', {
    problems,
    hint: [
      'Name the repositories instead of the registries (docker.io/library, quay.io/prometheus).',
      { id: 'admission-images' },
    ],
  })
}

function noSources(path: string): AirgapError {
  return new AirgapError(
    'USAGE',
    `with ${path} names, a name in the target does not say which registry its image comes from`,
    {
      hint: [
        path === 'flat'
          ? 'Name the images.'
          : 'Name the images, or the one registry that all of them come from.',
        { id: 'admission-images' },
      ],
    },
  )
}
