import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/manifest.ts'

/** A value or a promise of one: a store in memory answers immediately, one in a file does not. */
export type Awaitable<T> = T | Promise<T>

export interface StoredManifest {
  digest: Digest
  mediaType: string
  /** The bytes, or how to read them. */
  bytes: Uint8Array | StoredBlob
}

export interface StoredBlob {
  digest: Digest
  /** Bytes. */
  size: number
  /** Reads the bytes from `start` up to, but not including, `end`, in pieces. Both have to be within the size. */
  read(start: number, end: number): AsyncIterable<Uint8Array>
}

/**
 * The content of a registry. All given names and digests have passed the checks in `src/oci`. A repository, tag or digest
 * that does not exist gives `undefined`, not an error. An ambiguous name throws an AirgapError `NAME_CONFLICT`, whose
 * message is sent to the client.
 */
export interface ContentStore {
  /** All repositories, sorted by their bytes. */
  repositories(): Awaitable<string[]>
  /** The repository's tags, sorted by their bytes; undefined if there is no such repository. */
  tags(repository: string): Awaitable<string[] | undefined>
  /** @param reference a tag or a digest. */
  manifest(repository: string, reference: string): Awaitable<StoredManifest | undefined>
  blob(repository: string, digest: Digest): Awaitable<StoredBlob | undefined>
  /** Descriptors of the repository's manifests whose `subject` is `digest`. */
  referrers(repository: string, digest: Digest): Awaitable<Descriptor[]>
  /**
   * The content for requests with `?ns=REGISTRY`: clients that use this as a mirror say with it which registry they mean.
   * Without this method the parameter is ignored.
   * @param registry as the client wrote it: any text.
   */
  inNamespace?(registry: string): ContentStore
}
