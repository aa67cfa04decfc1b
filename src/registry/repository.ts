import type { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { Descriptor, ManifestOrIndex } from '../oci/manifest.ts'
import type { BlobStream } from './blobs/blobs.ts'
import type { ManifestInfo } from './manifests.ts'
import type { UploadMemory } from './blobs/uploads/habits.ts'

/** One repository of one registry. Every error names it, the registry and the operation. */
export interface Repository {
  readonly registry: string
  readonly repository: string
  /** `registry/repository`, for messages. */
  readonly name: string
  /** Whether its registry was slow before, while there were other sources. */
  readonly isSlow?: boolean
  /** Records that its registry was slow. */
  wasSlow?(): void
  /** For mirrors: called with the error that made a request go to the next source. */
  readonly onPassedOver?: ((error: AirgapError) => void) | undefined

  /**
   * Resolves a tag or digest, by HEAD; by GET and hashing if the registry's answer to HEAD is incomplete.
   * @returns undefined when the registry does not have it.
   */
  resolveManifest(ref: string, signal?: AbortSignal): Promise<ManifestInfo | undefined>

  /**
   * Resolves a tag that belongs to a manifest of this repository and mostly does not exist, like cosign's. A 403 counts
   * as "not found" if the manifest itself can be read.
   * @param subject the manifest that the tag belongs to.
   * @returns undefined when there is no such tag.
   */
  resolveAttached(tag: string, subject: Digest, signal?: AbortSignal): Promise<ManifestInfo | undefined>

  /** Fetches the manifest of such a tag like {@link fetchManifest}; undefined if there is none. */
  fetchAttached(tag: string, subject: Digest, signal?: AbortSignal): Promise<ManifestOrIndex | undefined>

  /**
   * Fetches a manifest or index by tag or digest, with a size limit, and hashes it. For a digest the hash must match.
   * @throws AirgapError `NOT_FOUND`, `CONTENT_MISMATCH`, `INVALID_CONTENT`, and those of every request.
   */
  fetchManifest(ref: string, signal?: AbortSignal): Promise<ManifestOrIndex>

  /**
   * Some of the repository's tags, for messages. Sends one request, without retries.
   * @returns undefined when the registry says that there is no such repository.
   * @throws AirgapError those of every request.
   */
  someTags(signal?: AbortSignal): Promise<string[] | undefined>

  /** Whether a blob exists, by HEAD, and the size that the registry states. */
  statBlob(digest: Digest, signal?: AbortSignal): Promise<{ size: number | undefined } | undefined>

  /**
   * Reads a small blob (a config) into memory, and checks its digest.
   * @throws AirgapError `INVALID_CONTENT` when its descriptor states more than `maxBytes`.
   */
  fetchSmallBlob(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    maxBytes: number,
    signal?: AbortSignal,
  ): Promise<Buffer>

  /**
   * Opens a blob for reading from byte `offset` on. Makes one attempt, and does not check the bytes: callers mostly
   * want {@link downloadBlob}.
   * @param leastRate the minimum rate, bytes a second; by default the usual one.
   */
  openBlob(digest: Digest, offset: number, signal?: AbortSignal, leastRate?: number): Promise<BlobStream>

  /** Puts a manifest or index under a tag or its digest. What it points to must already be there. */
  putManifest(
    ref: string,
    document: { bytes: Uint8Array; mediaType: string; digest: Digest },
    signal?: AbortSignal,
  ): Promise<void>

  /**
   * Lists what refers to a manifest or index: signatures, attestations, SBOMs and whatever else has it as its subject.
   * By the registry's own list, or by the tag that replaces it if the registry has none.
   * @returns descriptors as the registry states them, each digest once, without long annotations. Nothing in them has
   *   been checked, not even that their manifests exist and refer to this digest.
   * @param onUnusable gets the digests of entries that are left out because of their digest algorithm.
   * @throws AirgapError when the list cannot be read: an empty one means that there are no referrers.
   */
  referrers(
    digest: Digest,
    signal?: AbortSignal,
    onUnusable?: (digest: string) => void,
  ): Promise<Descriptor[]>

  /**
   * Makes sure that an existing manifest with a subject is listed among the subject's referrers: if the registry does
   * not keep that list, the tag that replaces it is written. To be called for one manifest at a time.
   * @returns `listed` if the registry keeps the list; otherwise `added` if the manifest was now added to the tag's
   *   list, and `tagged` if it was already in it.
   * @throws AirgapError also `REGISTRY` if the tag is not such a list; it is not changed then.
   */
  ensureReferrer(document: ManifestOrIndex, signal?: AbortSignal): Promise<'listed' | 'added' | 'tagged'>

  /**
   * Mounts a blob from another repository of the same registry.
   * @returns false when the registry does not mount it, for any reason: then the blob must be uploaded.
   */
  mountBlob(digest: Digest, fromRepository: string, signal?: AbortSignal): Promise<boolean>

  /**
   * Uploads a blob in one stream, and in chunks if that breaks off or is refused. The bytes are hashed on the way, and
   * the last ones are held back until the digest is found to be right.
   * @param open opens the bytes from a position on; called again for each part that is sent.
   * @param onProgress gets the number of bytes of this blob sent so far; it falls where bytes are sent again.
   * @param memory remembers the upload, so that a later run can resume it.
   * @throws AirgapError `INVALID_CONTENT` when the bytes are not those of the descriptor.
   */
  uploadBlob(
    descriptor: { digest: Digest; size: number },
    open: (from: number) => AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
    onProgress?: (bytes: number) => void,
    memory?: UploadMemory,
  ): Promise<void>
}

/** Moves the slow sources to the end, and keeps the order otherwise. */
export function slowLast<T>(sources: readonly T[], isSlow: (source: T) => boolean): T[] {
  return [...sources.filter((source) => !isSlow(source)), ...sources.filter(isSlow)]
}
