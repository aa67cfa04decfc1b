import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/manifest.ts'

/** A value, or a promise of one: a store in memory answers at once, a store in a file does not. */
export type Awaitable<T> = T | Promise<T>

export interface StoredManifest {
  digest: Digest
  mediaType: string
  /** In memory, or where they can be read. */
  bytes: Uint8Array | StoredBlob
}

export interface StoredBlob {
  digest: Digest
  /** Bytes. */
  size: number
  /** The bytes from `start` up to and without `end`, in pieces. Both are within the size. */
  read(start: number, end: number): AsyncIterable<Uint8Array>
}

/**
 * What a registry can be read from. Every name and digest given has passed the checkers of `src/oci`.
 * A repository, tag or digest that is not there is `undefined`, not an error. A name that could be either of two
 * things is an AirgapError `NAME_CONFLICT`, whose message the client gets.
 */
export interface ContentStore {
  /** All repositories, sorted bytewise. */
  repositories(): Awaitable<string[]>
  /** The repository's tags, sorted bytewise; undefined where there is no such repository. */
  tags(repository: string): Awaitable<string[] | undefined>
  /** @param reference a tag or a digest */
  manifest(repository: string, reference: string): Awaitable<StoredManifest | undefined>
  blob(repository: string, digest: Digest): Awaitable<StoredBlob | undefined>
  /** Descriptors of the repository's manifests whose `subject` is `digest`. */
  referrers(repository: string, digest: Digest): Awaitable<Descriptor[]>
  /**
   * What a request with `?ns=REGISTRY` sees: clients for which this is a mirror say so which registry they mean.
   * Where it is left out, that parameter is ignored.
   * @param registry as the client wrote it: any text
   */
  inNamespace?(registry: string): ContentStore
}
