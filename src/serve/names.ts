import { AirgapError, type Problem } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { compareBytes } from '../oci/json.ts'
import { isRepository, parseReference } from '../oci/reference.ts'
import { isDockerHub } from '../registry/net/hosts.ts'
import type { ImageGraph, OpenedBundle } from '../verify/opened-bundle.ts'
import { hostPart, tagFor } from '../push/names.ts'

/** An image of a served bundle, with its names. */
export interface ServedImage {
  source: string
  digest: Digest
  kind: 'image' | 'artifact'
  /** The path of its bundle. */
  bundle: string
  /** The registry in its source reference. */
  registry: string
  /** The repository in that registry, which is also the short name: `library/nginx`. */
  repository: string
  /** `docker.io/library/nginx`; undefined if it is too long for a repository name. */
  fullName: string | undefined
  tag: string
  graph: ImageGraph
  /** The bundle, open. */
  opened: OpenedBundle
}

/**
 * Names the images of all bundles. An image that is in several bundles occurs several times.
 * @throws AirgapError `NAME_CONFLICT` if one name has several digests; it lists every case.
 */
export function nameServedImages(bundles: readonly OpenedBundle[]): ServedImage[] {
  const images = bundles.flatMap((opened) => opened.images.map((graph) => nameImage(graph, opened)))
  const problems: Problem[] = []
  for (const [name, group] of Map.groupBy(images, keyOf)) {
    if (new Set(group.map(({ digest }) => digest)).size < 2) continue
    const owners = group.map(({ digest, bundle }) => `${bundle} has ${digest}`)
    problems.push({ entry: name, message: [...new Set(owners)].join(', ') })
  }
  if (problems.length > 0) {
    throw new AirgapError(
      'NAME_CONFLICT',
      `the bundles have different content under ${problems.length === 1 ? 'the same name' : `${problems.length} names`}`,
      {
        problems,
        hint: 'Serve these bundles one at a time, or on different ports.',
      },
    )
  }
  return images
}

function nameImage(graph: ImageGraph, opened: OpenedBundle): ServedImage {
  const { source, digest, kind } = graph.image
  const reference = parseReference(source)
  const { registry, repository } = reference
  const fullName = `${hostPart(registry)}/${repository}`
  return {
    source,
    digest,
    kind,
    bundle: opened.reader.path,
    registry,
    repository,
    fullName: isRepository(fullName) ? fullName : undefined,
    tag: tagFor(reference, digest),
    graph,
    opened,
  }
}

/** The key by which images are compared, whatever the spelling of their registry. */
function keyOf({ registry, repository, tag }: ServedImage): string {
  return `${namespaceOf(registry)}/${repository}:${tag}`
}

/** Normalizes a registry's name for comparing it with `?ns=`. */
export function namespaceOf(registry: string): string {
  return isDockerHub(registry) ? 'docker.io' : registry.toLowerCase()
}

/** The registries of the images, sorted, without duplicates; each in one of its spellings. */
export function registriesOf(images: readonly ServedImage[]): string[] {
  const unique = new Map(images.map(({ registry }) => [registry.toLowerCase(), registry]))
  return [...unique.values()].toSorted(compareBytes)
}
