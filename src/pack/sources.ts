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
 * Most bytes of documents and small blobs that are kept during a run: enough for ten thousand images. Anything beyond that
 * is fetched again when it is needed again.
 */
const MOST_KEPT = 256 * 1024 * 1024

/**
 * Manifests, indexes and small blobs, read from registries by digest and kept for a while, so that documents that images
 * share, or that are needed again when the bundle is written, are fetched only once.
 */
export class DocumentCache {
  readonly #bytes: LruCache<Digest, Uint8Array>
  readonly #parsed: ParsedDocuments
  /** Requests in progress. */
  readonly #documents = new Map<Digest, Promise<ManifestOrIndex>>()
  readonly #blobs = new Map<Digest, Promise<Uint8Array>>()
  readonly #reuse: Pick<ReusableBlobs, 'read'> | undefined

  /**
   * @param reuse is asked before any registry.
   * @param most how many bytes are kept.
   * @param parsed how many bytes the parsed documents may take in addition.
   */
  constructor(reuse?: Pick<ReusableBlobs, 'read'>, most: number = MOST_KEPT, parsed?: number) {
    this.#reuse = reuse
    this.#bytes = new LruCache(most)
    this.#parsed = new ParsedDocuments(parsed)
  }

  /** Whether some documents may come from earlier bundles, without a request. */
  get hasReuse(): boolean {
    return this.#reuse !== undefined
  }

  /** Adds a document that was read elsewhere, such as by its tag. */
  add(document: ManifestOrIndex): void {
    this.#bytes.set(document.digest, document.bytes, document.bytes.length)
    this.#parsed.add(document)
  }

  /** A document by its digest, from the first source that has it. */
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

  /** A loader that asks `repositories` in order for what is not cached. */
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
   * @param onUnreadable gets the reason if a config cannot be read, each reason once.
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
   * A small blob (a config, a signature), with its digest checked.
   * @throws AirgapError `INVALID_CONTENT` if its descriptor states more than `maxBytes`, and the errors of every request.
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

  /** Whether a small blob is cached. */
  has({ digest }: Pick<Descriptor, 'digest'>): boolean {
    return this.#bytes.has(digest)
  }
}

/** Shares one request among all that need the same thing at the same time. */
function once<K, V>(running: Map<K, Promise<V>>, key: K, make: () => Promise<V>): Promise<V> {
  const known = running.get(key)
  // This image's sources may have what those of another image did not.
  if (known) return known.catch((error: unknown) => (isAbort(error) ? known : once(running, key, make)))
  const made = make().finally(() => running.delete(key))
  running.set(key, made)
  return made
}

/** Slow repositories come last: content by digest is the same everywhere. */
function inOrder(repositories: readonly Source[]): Source[] {
  return slowLast(repositories, ({ isSlow }) => isSlow === true)
}

/** Errors that the user can fix, unlike a host that cannot be reached. */
const TELLING = new Set(['UNAUTHORIZED', 'DENIED', 'CREDENTIALS', 'TLS'])

/**
 * Tries each repository in order until one succeeds.
 * @throws the last one's error, or a mirror's if that one refused us and the last could not be reached. Its hint has the
 *   errors of the others.
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
  throw chosen.with({ hint: [...chosen.hints, `Also tried: ${others.join('; ')}`], cause: chosen })
}

/** Tells the client which repositories will be read, so that it can ask for their tokens together. */
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
      // Reported with the name of the reference, when that is read.
      if (!(error instanceof AirgapError)) throw error
    }
  }
}
