import { AirgapError, type Problem } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { compareBytes } from '../oci/json.ts'
import { isRepository, parseReference } from '../oci/reference.ts'
import { isDockerHub } from '../registry/net/hosts.ts'
import type { ImageGraph, OpenedBundle } from '../verify/opened-bundle.ts'
import { hostPart, tagFor } from '../push/names.ts'

/** An image of a served bundle, and what it answers to. */
export interface ServedImage {
  source: string
  digest: Digest
  kind: 'image' | 'artifact'
  /** Path of the bundle that it comes from. */
  bundle: string
  /** The source's registry, as it stands there. */
  registry: string
  /** The repository within that registry, which is also the name without it: `library/nginx`. */
  repository: string
  /** `docker.io/library/nginx`; undefined where that would be too long for a name. */
  fullName: string | undefined
  tag: string
  graph: ImageGraph
  /** The bundle, open. */
  opened: OpenedBundle
}

/**
 * Names the images of all bundles. The same image in several bundles occurs once for each.
 * @throws AirgapError `NAME_CONFLICT` where one name has several digests, with every case.
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
      `the bundles give ${problems.length === 1 ? 'a name' : `${problems.length} names`} to different content`,
      {
        problems,
        hint: 'Nobody could tell which one is meant. Serve these bundles one at a time, or on different ports.',
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

/** Two spellings of one registry are one registry. */
function keyOf({ registry, repository, tag }: ServedImage): string {
  return `${namespaceOf(registry)}/${repository}:${tag}`
}

/** A registry's name in the one spelling that `?ns=` is compared in. */
export function namespaceOf(registry: string): string {
  return isDockerHub(registry) ? 'docker.io' : registry.toLowerCase()
}

/** The registries that the images come from, sorted, each in its first spelling. */
export function registriesOf(images: readonly ServedImage[]): string[] {
  const unique = new Map(images.map(({ registry }) => [registry.toLowerCase(), registry]))
  return [...unique.values()].toSorted(compareBytes)
}
