import { AirgapError, messageOf } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import {
  MAX_MANIFEST_SIZE,
  parseManifest,
  type Descriptor,
  type ManifestOrIndex,
} from '../../oci/manifest.ts'
import { slowLast, type Repository } from '../../registry/repository.ts'
import { isStall } from '../../registry/retry.ts'
import { isAbort } from '../failures.ts'
import type { LoadDocument } from '../graph.ts'
import { statedByConfig, type ConfigPlatform } from '../platforms.ts'
import type { ReusableBlobs } from './reuse.ts'

/**
 * Manifests, indexes and small blobs, read from registries by digest and kept for the length of one run, so
 * that a document which several images share is asked for once.
 */
export class DocumentCache {
  readonly #documents = new Map<Digest, Promise<ManifestOrIndex>>()
  readonly #present = new Map<Digest, ManifestOrIndex>()
  readonly #blobs = new Map<Digest, Promise<Buffer>>()
  readonly #reuse: Pick<ReusableBlobs, 'read'> | undefined

  /** @param reuse is asked before any registry. */
  constructor(reuse?: Pick<ReusableBlobs, 'read'>) {
    this.#reuse = reuse
  }

  /** Whether documents may be here that no registry need be asked for. */
  get hasReuse(): boolean {
    return this.#reuse !== undefined
  }

  /** Puts in a document that was read by tag. */
  add(document: ManifestOrIndex): void {
    this.#present.set(document.digest, document)
    this.#documents.set(document.digest, Promise.resolve(document))
  }

  /** A document that was put in with {@link add}. */
  peek(digest: Digest): ManifestOrIndex | undefined {
    return this.#present.get(digest)
  }

  /** A document by its digest, from the first that has it. */
  async fetch(
    digest: Digest,
    repositories: readonly Repository[],
    signal?: AbortSignal,
  ): Promise<ManifestOrIndex> {
    return remember(this.#documents, digest, async () => {
      const bytes = await this.#reuse?.read(digest, MAX_MANIFEST_SIZE)
      if (bytes) return parseManifest(bytes, `${repositories.at(-1)?.name}@${digest}`)
      return firstThatHas(inOrder(repositories), (repository) => repository.fetchManifest(digest, signal))
    })
  }

  /** A loader that asks `repositories` in order for what is not here yet. */
  loader(repositories: readonly Repository[], signal?: AbortSignal): LoadDocument {
    return async (descriptor) => {
      const document = await this.fetch(descriptor.digest, repositories, signal)
      if (document.mediaType !== descriptor.mediaType) {
        throw new AirgapError(
          'INVALID_CONTENT',
          `${repositories.at(-1)?.name}: ${descriptor.digest} is of type ${document.mediaType}, but its descriptor says ${descriptor.mediaType}`,
        )
      }
      return document
    }
  }

  /**
   * Reads the platform from a manifest's config.
   * @param onUnreadable is told of configs that cannot be read, each once.
   */
  configPlatform(
    repositories: readonly Repository[],
    signal?: AbortSignal,
    onUnreadable?: (reason: string) => void,
  ): ConfigPlatform {
    const told = new Set<string>()
    return ({ config }) =>
      statedByConfig(
        config,
        () => this.blob(config, MAX_MANIFEST_SIZE, repositories, signal),
        (reason) => {
          if (!told.has(reason)) onUnreadable?.(reason)
          told.add(reason)
        },
      )
  }

  /**
   * A small blob (a config, a signature), digest checked.
   * @throws AirgapError `INVALID_CONTENT` when its descriptor states more than `maxBytes`, and those of every request.
   */
  async blob(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    maxBytes: number,
    repositories: readonly Repository[],
    signal?: AbortSignal,
  ): Promise<Buffer> {
    return remember(
      this.#blobs,
      descriptor.digest,
      async () =>
        (await this.#reuse?.read(descriptor.digest, maxBytes)) ??
        firstThatHas(inOrder(repositories), (repository) =>
          repository.fetchSmallBlob(descriptor, maxBytes, signal),
        ),
    )
  }

  /** A small blob's bytes, if they were read. */
  async blobIfRead(descriptor: Pick<Descriptor, 'digest'>): Promise<Buffer | undefined> {
    return this.#blobs.get(descriptor.digest)
  }
}

/** Caches the promise, and forgets it when it fails, so that another image's sources are asked anew. */
function remember<K, V>(cache: Map<K, Promise<V>>, key: K, make: () => Promise<V>): Promise<V> {
  const known = cache.get(key)
  // What another image's sources did not have, this one's may.
  if (known) return known.catch((error: unknown) => (isAbort(error) ? known : remember(cache, key, make)))
  const made = make()
  cache.set(key, made)
  made.catch(() => cache.delete(key))
  return made
}

/** What has a digest is the same wherever it is. */
function inOrder(repositories: readonly Repository[]): Repository[] {
  return slowLast(repositories, ({ isSlow }) => isSlow === true)
}

/** Faults that somebody can mend on the spot, where others are merely a host that is out of reach. */
const TELLING = new Set(['UNAUTHORIZED', 'DENIED', 'CREDENTIALS', 'TLS'])

/**
 * Tries each repository in order, until one answers.
 * @throws the last one's error; a mirror's own one where the last is just out of reach, and the mirror refused us.
 * What the others said is told in its hint.
 */
export async function firstThatHas<T>(
  repositories: readonly Repository[],
  ask: (repository: Repository) => Promise<T>,
): Promise<T> {
  const failures: unknown[] = []
  for (const repository of repositories) {
    try {
      return await ask(repository)
    } catch (error) {
      if (isAbort(error)) throw error
      failures.push(error)
      if (isStall(error)) repository.wasSlow?.()
      if (error instanceof AirgapError && repository !== repositories.at(-1)) repository.onPassedOver?.(error)
    }
  }
  const last = failures.at(-1)
  const refusal = failures.find((error) => error instanceof AirgapError && TELLING.has(error.code))
  const isOutOfReach = last instanceof AirgapError && last.code === 'NETWORK'
  const chosen = isOutOfReach && refusal !== undefined ? refusal : last
  const others = failures.filter((error) => error !== chosen).map((error) => messageOf(error))
  if (others.length === 0 || !(chosen instanceof AirgapError)) throw chosen
  throw new AirgapError(chosen.code, chosen.message, {
    hint: [chosen.hint, `Tried too: ${others.join('; ')}`].filter(Boolean).join(' '),
    problems: chosen.problems,
    cause: chosen,
  })
}
