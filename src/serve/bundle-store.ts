import { AirgapError } from '../errors.ts'
import { isDigest, type Digest } from '../oci/digest.ts'
import { compareBytes } from '../oci/json.ts'
import type { Descriptor } from '../oci/manifest.ts'
import type { ContentStore, StoredBlob, StoredManifest } from './registry/store.ts'
import { namespaceOf } from './names.ts'
import type { FindBlob, SourceRepository } from './repositories.ts'

/** Maps names to source repositories. Several repositories can share a name. */
interface Naming {
  names(): Iterable<string>
  owners(name: string): readonly SourceRepository[]
}

/**
 * Bundles as a registry's content. Each image has its full name (`docker.io/library/nginx`) and a short name without the
 * registry (`library/nginx`). If a client says with `?ns=` which registry it means, a short name is looked up in that
 * registry only. Full names take precedence over short ones. If several registries share a short name, the tag or digest
 * decides, and the request is refused if it is still ambiguous.
 */
export class BundleStore implements ContentStore {
  readonly #naming: Naming
  readonly #findBlob: FindBlob
  readonly #sources: readonly SourceRepository[]

  constructor(sources: readonly SourceRepository[], findBlob: FindBlob, naming = namesOf(sources)) {
    this.#sources = sources
    this.#findBlob = findBlob
    this.#naming = naming
  }

  inNamespace(registry: string): BundleStore {
    return new BundleStore(this.#sources, this.#findBlob, namesWithin(this.#sources, registry))
  }

  repositories(): string[] {
    return [...new Set(this.#naming.names())]
      .filter((name) => ambiguousTags(this.#naming.owners(name)).length === 0)
      .toSorted(compareBytes)
  }

  /** @throws AirgapError `NAME_CONFLICT` if a tag could mean several images. */
  tags(name: string): string[] | undefined {
    const owners = this.#naming.owners(name)
    if (owners.length === 0) return undefined
    const [ambiguous] = ambiguousTags(owners)
    if (ambiguous !== undefined) throw ambiguity(name, ambiguous, owners)
    const attached = owners.flatMap((owner) => [...owner.attached.keys()])
    return [...new Set([...tagsOf(owners), ...attached])].toSorted(compareBytes)
  }

  /** @throws AirgapError `NAME_CONFLICT` if the tag could mean several images. */
  async manifest(name: string, reference: string): Promise<StoredManifest | undefined> {
    const owners = this.#naming.owners(name)
    let digest: Digest | undefined
    if (isDigest(reference)) {
      digest = reference
    } else {
      const digests = digestsOf(reference, owners)
      if (digests.size > 1) throw ambiguity(name, reference, owners)
      ;[digest] = digests
      // A cosign tag contains the image's digest, so it means the same in every registry that shares the short name.
      digest ??= owners.map(({ attached }) => attached.get(reference)).find((found) => found !== undefined)
    }
    if (digest === undefined) return undefined
    for (const { documents, made } of owners) {
      const own = made.get(digest)
      if (own) return { digest, mediaType: own.mediaType, bytes: own.bytes }
      const found = documents.get(digest)
      const bytes = found && (await this.#findBlob(digest))
      if (bytes) return { digest, mediaType: found.mediaType, bytes }
    }
    return undefined
  }

  async blob(name: string, digest: Digest): Promise<StoredBlob | undefined> {
    const isThere = this.#naming.owners(name).some(({ blobs }) => blobs.has(digest))
    return isThere ? await this.#findBlob(digest) : undefined
  }

  referrers(name: string, digest: Digest): Descriptor[] {
    const all = this.#naming.owners(name).flatMap(({ referrers }) => referrers.get(digest) ?? [])
    return [...new Map(all.map((descriptor) => [descriptor.digest, descriptor])).values()]
  }
}

/** The short names with a tag (`NAME:TAG`) that mean several images, with the full names to use instead. */
export function ambiguousNames(sources: readonly SourceRepository[]): { name: string; use: string[] }[] {
  const naming = namesOf(sources)
  return [...new Set(naming.names())].toSorted(compareBytes).flatMap((name) => {
    const owners = naming.owners(name)
    return ambiguousTags(owners).map((tag) => ({ name: `${name}:${tag}`, use: fullNames(tag, owners) }))
  })
}

/** The naming without `?ns=`: full names, then short names. */
function namesOf(sources: readonly SourceRepository[]): Naming {
  const full = Map.groupBy(sources, ({ fullName }) => fullName)
  const short = Map.groupBy(sources, ({ repository }) => repository)
  return {
    names: () => [...full.keys(), ...short.keys()].filter((name) => name !== undefined),
    owners: (name) => full.get(name) ?? short.get(name) ?? [],
  }
}

/**
 * The naming with `?ns=`: short names in that registry, then full names, which are unambiguous. For a registry that is not
 * in the bundles it never finds a short name of another registry.
 */
function namesWithin(sources: readonly SourceRepository[], registry: string): Naming {
  const namespace = namespaceOf(registry)
  const own = Map.groupBy(
    sources.filter((source) => source.namespace === namespace),
    ({ repository }) => repository,
  )
  return {
    names: () => own.keys(),
    owners: (name) => own.get(name) ?? sources.filter(({ fullName }) => fullName === name),
  }
}

function ambiguousTags(owners: readonly SourceRepository[]): string[] {
  if (owners.length < 2) return []
  return [...tagsOf(owners)].filter((tag) => digestsOf(tag, owners).size > 1).toSorted(compareBytes)
}

function tagsOf(owners: readonly SourceRepository[]): Set<string> {
  return new Set(owners.flatMap(({ tags }) => Array.from(tags.keys())))
}

function digestsOf(tag: string, owners: readonly SourceRepository[]): Set<Digest> {
  return new Set(owners.flatMap(({ tags }) => tags.get(tag) ?? []))
}

function fullNames(tag: string, owners: readonly SourceRepository[]): string[] {
  return owners
    .filter(({ tags }) => tags.has(tag))
    .map(({ fullName, repository, namespace }) =>
      fullName === undefined ? `${repository}:${tag}?ns=${namespace}` : `${fullName}:${tag}`,
    )
    .toSorted(compareBytes)
}

function ambiguity(name: string, tag: string, owners: readonly SourceRepository[]): AirgapError {
  const names = fullNames(tag, owners).map((full) => {
    const owner = owners.find(({ fullName }) => full === `${fullName}:${tag}`)
    return owner ? `${full} (${owner.tags.get(tag)})` : full
  })
  return new AirgapError(
    'NAME_CONFLICT',
    `${name}:${tag} could be any of ${names.join(', ')}: use one of these full names`,
  )
}
