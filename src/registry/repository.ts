import { AirgapError } from '../errors.ts'
import { isDigest, parseDigest, type Digest } from '../oci/digest.ts'
import type { Descriptor, ManifestOrIndex } from '../oci/manifest.ts'
import { isTag } from '../oci/reference.ts'
import { openBlob, statBlob, type BlobStream } from './blobs.ts'
import type { RegistryClient } from './client.ts'
import type { Connection } from './connection.ts'
import { downloadBlob } from './download.ts'
import { fetchManifest, putManifest, resolveManifest, type ManifestInfo } from './manifests.ts'
import type { Context } from './notices.ts'
import { mountBlob, uploadBlob } from './uploads.ts'

/** One repository of one registry. Every error names it, the registry and the operation. */
export interface Repository {
  readonly registry: string
  readonly repository: string
  /** `registry/repository`, for messages. */
  readonly name: string

  /**
   * What a tag or digest stands for, by HEAD; by GET and hashing where the registry's answer to HEAD leaves
   * something out.
   * @returns undefined when the registry does not have it.
   */
  resolveManifest(ref: string, signal?: AbortSignal): Promise<ManifestInfo | undefined>

  /**
   * Reads a manifest or index by tag or digest, capped and hashed; by digest the hash must match.
   * @throws AirgapError `NOT_FOUND`, `CONTENT_MISMATCH`, `INVALID_CONTENT` and those of every request.
   */
  fetchManifest(ref: string, signal?: AbortSignal): Promise<ManifestOrIndex>

  /** Whether a blob is there, by HEAD, and how long the registry says it is. */
  statBlob(digest: Digest, signal?: AbortSignal): Promise<{ size: number | undefined } | undefined>

  /**
   * Reads a small blob (a config) into memory, digest checked.
   * @throws AirgapError `INVALID_CONTENT` when its descriptor states more than `maxBytes`.
   */
  fetchSmallBlob(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    maxBytes: number,
    signal?: AbortSignal,
  ): Promise<Buffer>

  /**
   * Opens a blob for reading from byte `offset` on. One attempt, bytes unchecked: {@link downloadBlob} is what
   * callers want.
   */
  openBlob(digest: Digest, offset: number, signal?: AbortSignal): Promise<BlobStream>

  /** Puts a manifest or index under a tag or its digest. What it points to must be there already. */
  putManifest(
    ref: string,
    document: { bytes: Uint8Array; mediaType: string; digest: Digest },
    signal?: AbortSignal,
  ): Promise<void>

  /**
   * Mounts a blob from another repository of the same registry.
   * @returns false when the registry does not do it, for whatever reason: then it must be uploaded.
   */
  mountBlob(digest: Digest, fromRepository: string, signal?: AbortSignal): Promise<boolean>

  /**
   * Uploads a blob in one stream. `open` is called anew for each attempt. The bytes are hashed as they go, and
   * the last of them are held back until the digest is seen to be right.
   * @param onProgress gets the bytes of this blob sent so far; a new attempt begins again at 0.
   * @throws AirgapError `INVALID_CONTENT` when the bytes are not those of the descriptor.
   */
  uploadBlob(
    descriptor: { digest: Digest; size: number },
    open: () => AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
    onProgress?: (bytes: number) => void,
  ): Promise<void>
}

export class RemoteRepository implements Repository {
  readonly registry: string
  readonly repository: string
  readonly name: string
  readonly connection: Connection
  /** Upload sessions that refused mounts have left behind, by digest; the upload that follows takes them. */
  readonly sessions = new Map<Digest, URL>()
  readonly #client: RegistryClient

  constructor(connection: Connection, repository: string, client: RegistryClient) {
    this.registry = connection.registry
    this.repository = repository
    this.name = `${this.registry}/${repository}`
    this.connection = connection
    this.#client = client
  }

  /** The context for errors of an operation on this repository. */
  context(operation: string): Context {
    return { registry: this.registry, operation }
  }

  get pull(): string {
    return `repository:${this.repository}:pull`
  }

  get push(): string {
    return `repository:${this.repository}:pull,push`
  }

  /** `name:tag` or `name@digest`. */
  refText(ref: string): string {
    return ref.includes(':') ? `${this.name}@${ref}` : `${this.name}:${ref}`
  }

  /** Path of a manifest, for a tag or a digest by the strict grammar only. */
  manifestPath(ref: string): string {
    if (!isDigest(ref) && !isTag(ref)) {
      if (ref.includes(':')) parseDigest(ref)
      throw new AirgapError('INVALID_REFERENCE', `${JSON.stringify(ref)} is neither a tag nor a digest`)
    }
    return `/v2/${this.repository}/manifests/${ref}`
  }

  blobPath(digest: Digest): string {
    return `/v2/${this.repository}/blobs/${parseDigest(digest)}`
  }

  async resolveManifest(ref: string, signal?: AbortSignal): Promise<ManifestInfo | undefined> {
    return resolveManifest(this, ref, signal)
  }

  async fetchManifest(ref: string, signal?: AbortSignal): Promise<ManifestOrIndex> {
    return fetchManifest(this, ref, signal)
  }

  async statBlob(digest: Digest, signal?: AbortSignal): Promise<{ size: number | undefined } | undefined> {
    return statBlob(this, digest, signal)
  }

  async fetchSmallBlob(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    maxBytes: number,
    signal?: AbortSignal,
  ): Promise<Buffer> {
    const { digest, size } = descriptor
    if (size > maxBytes) {
      throw new AirgapError(
        'INVALID_CONTENT',
        `the blob ${digest} of ${this.name} is stated to have ${size} bytes; ${maxBytes} is the most for its kind`,
      )
    }
    const chunks: Uint8Array[] = []
    const sink = {
      restartable: true,
      write: async (chunk: Uint8Array, position: number): Promise<void> => {
        if (position === 0) chunks.length = 0
        chunks.push(chunk)
      },
    }
    await downloadBlob([this], { mediaType: 'application/octet-stream', digest, size }, sink, {
      client: this.#client,
      signal,
    })
    return Buffer.concat(chunks)
  }

  async openBlob(digest: Digest, offset: number, signal?: AbortSignal): Promise<BlobStream> {
    return openBlob(this, digest, offset, signal)
  }

  async putManifest(
    ref: string,
    document: { bytes: Uint8Array; mediaType: string; digest: Digest },
    signal?: AbortSignal,
  ): Promise<void> {
    return putManifest(this, ref, document, signal)
  }

  async mountBlob(digest: Digest, fromRepository: string, signal?: AbortSignal): Promise<boolean> {
    return mountBlob(this, digest, fromRepository, signal)
  }

  async uploadBlob(
    descriptor: { digest: Digest; size: number },
    open: () => AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
    onProgress?: (bytes: number) => void,
  ): Promise<void> {
    return uploadBlob(this, descriptor, open, signal, onProgress)
  }
}
