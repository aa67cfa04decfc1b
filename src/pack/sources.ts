import { AirgapError, messageOf } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { MAX_MANIFEST_SIZE, parseManifest, type Descriptor, type ManifestOrIndex } from '../oci/manifest.ts'
import { isStall } from '../registry/net/retry.ts'
import { isAbort } from '../content/failures.ts'
import { LruCache, ParsedDocuments } from '../content/documents.ts'
import type { LoadDocument } from '../content/graph.ts'
import { statedByConfig, type ConfigPlatform } from '../content/platforms.ts'
import type { ReusableBlobs } from './reuse.ts'
import type { RegistryClient } from '../registry/client.ts'
import type { Mirrors } from '../registry/mirrors/mirrors.ts'
import type { Reference } from '../oci/reference.ts'
import { sourcesFor } from '../registry/mirrors/sources.ts'
import { slowLast, type Source } from '../content/source.ts'

/**
 * Bytes of documents and small blobs that are kept for the length of a run: those of ten thousand images. What is more
 * is asked for again when it is needed again.
 */
const MOST_KEPT = 256 * 1024 * 1024

/**
 * Manifests, indexes and small blobs, read from registries by digest and kept for a while, so that a document which
 * several images share, or which is needed again when the bundle is written, is asked for once.
 */
export class DocumentCache {
  readonly #bytes: LruCache<Digest, Uint8Array>
  readonly #parsed: ParsedDocuments
  /** What is being asked for at this moment. */
  readonly #documents = new Map<Digest, Promise<ManifestOrIndex>>()
  readonly #blobs = new Map<Digest, Promise<Uint8Array>>()
  readonly #reuse: Pick<ReusableBlobs, 'read'> | undefined

  /**
   * @param reuse is asked before any registry.
   * @param most bytes that are kept.
   * @param parsed what parsed documents may weigh, which are kept besides.
   */
  constructor(reuse?: Pick<ReusableBlobs, 'read'>, most: number = MOST_KEPT, parsed?: number) {
    this.#reuse = reuse
    this.#bytes = new LruCache(most)
    this.#parsed = new ParsedDocuments(parsed)
  }

  /** Whether documents may be here that no registry need be asked for. */
  get hasReuse(): boolean {
    return this.#reuse !== undefined
  }

  /** Puts in a document that was read by tag. */
  add(document: ManifestOrIndex): void {
    this.#bytes.set(document.digest, document.bytes, document.bytes.length)
    this.#parsed.add(document)
  }

  /** A document by its digest, from the first that has it. */
  async fetch(
    digest: Digest,
    repositories: readonly Source[],
    signal?: AbortSignal,
  ): Promise<ManifestOrIndex> {
    const what = `${repositories.at(-1)?.name}@${digest}`
    const parsed = this.#parsed.get(digest)
    if (parsed) return parsed
    const bytes = this.#bytes.get(digest)
    if (bytes) return this.#parsedFrom(bytes, what)
    return once(this.#documents, digest, async () => {
      const reused = await this.#reuse?.read(digest, MAX_MANIFEST_SIZE)
      if (reused) return this.#parsedFrom(reused, what)
      const document = await firstThatHas(inOrder(repositories), (repository) =>
        repository.fetchManifest(digest, signal),
      )
      this.add(document)
      return document
    })
  }

  #parsedFrom(bytes: Uint8Array, what: string): ManifestOrIndex {
    const document = parseManifest(bytes, what)
    this.add(document)
    return document
  }

  /** A loader that asks `repositories` in order for what is not here yet. */
  loader(repositories: readonly Source[], signal?: AbortSignal): LoadDocument {
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
    repositories: readonly Source[],
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
    repositories: readonly Source[],
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    const { digest } = descriptor
    const kept = this.#bytes.get(digest)
    if (kept) return kept
    return once(this.#blobs, digest, async () => {
      const bytes =
        (await this.#reuse?.read(digest, maxBytes)) ??
        (await firstThatHas(inOrder(repositories), (repository) =>
          repository.fetchSmallBlob(descriptor, maxBytes, signal),
        ))
      this.#bytes.set(digest, bytes, bytes.length)
      return bytes
    })
  }

  /** Whether a small blob's bytes were read and are still here. */
  has({ digest }: Pick<Descriptor, 'digest'>): boolean {
    return this.#bytes.has(digest)
  }
}

/** Shares what is under way with whoever else asks for it. */
function once<K, V>(running: Map<K, Promise<V>>, key: K, make: () => Promise<V>): Promise<V> {
  const known = running.get(key)
  // What another image's sources did not have, this one's may.
  if (known) return known.catch((error: unknown) => (isAbort(error) ? known : once(running, key, make)))
  const made = make().finally(() => running.delete(key))
  running.set(key, made)
  return made
}

/** What has a digest is the same wherever it is. */
function inOrder(repositories: readonly Source[]): Source[] {
  return slowLast(repositories, ({ isSlow }) => isSlow === true)
}

/** Faults that somebody can mend on the spot, where others are merely a host that is out of reach. */
const TELLING = new Set(['UNAUTHORIZED', 'DENIED', 'CREDENTIALS', 'TLS'])

/**
 * Tries each repository in order, until one answers.
 * @throws the last one's error; a mirror's own one where the last is just out of reach, and the mirror refused us.
 * What the others said is told in its hint.
 */
export async function firstThatHas<S extends Source, T>(
  repositories: readonly S[],
  ask: (repository: S) => Promise<T>,
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
  throw chosen.with({ hint: [...chosen.hints, `Tried too: ${others.join('; ')}`], cause: chosen })
}

/** Tells the client which repositories these references will be read from, so that it asks for tokens together. */
export function expectSources(
  client: RegistryClient,
  references: readonly Reference[],
  mirrors?: Mirrors,
): void {
  for (const reference of references) {
    try {
      for (const { registry, repository } of sourcesFor(client, reference, mirrors).all) {
        client.expect(registry, [repository], 'pull')
      }
    } catch (error) {
      // Told where this reference's turn comes, with its name.
      if (!(error instanceof AirgapError)) throw error
    }
  }
}
