import type { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { Descriptor, ManifestOrIndex } from '../oci/manifest.ts'
import type { BlobStream } from './blobs/blobs.ts'
import type { ManifestInfo } from './manifests.ts'
import type { UploadMemory } from './blobs/uploads/habits.ts'
import { isHeldBack } from '../content/failures.ts'

/** One repository of one registry. Every error names it, the registry and the operation. */
export interface Repository {
  readonly registry: string
  readonly repository: string
  /** `registry/repository`, for messages. */
  readonly name: string
  /** Whether its registry let us wait already, where another source was to be had. */
  readonly isSlow?: boolean
  /** Its registry has just done so. */
  wasSlow?(): void
  /** For mirrors: called with the fault by which something is asked of the next source instead. */
  readonly onPassedOver?: ((error: AirgapError) => void) | undefined

  /**
   * What a tag or digest stands for, by HEAD; by GET and hashing where the registry's answer to HEAD leaves
   * something out.
   * @returns undefined when the registry does not have it.
   */
  resolveManifest(ref: string, signal?: AbortSignal): Promise<ManifestInfo | undefined>

  /**
   * What a tag stands for that belongs to a manifest of this repository and is mostly not there, like cosign's. A 403
   * counts as "not there" where the manifest itself may be read.
   * @param subject the manifest that the tag belongs to.
   * @returns undefined when there is no such tag.
   */
  resolveAttached(tag: string, subject: Digest, signal?: AbortSignal): Promise<ManifestInfo | undefined>

  /** What stands under such a tag, as {@link fetchManifest} reads it; undefined where there is none. */
  fetchAttached(tag: string, subject: Digest, signal?: AbortSignal): Promise<ManifestOrIndex | undefined>

  /**
   * Reads a manifest or index by tag or digest, capped and hashed; by digest the hash must match.
   * @throws AirgapError `NOT_FOUND`, `CONTENT_MISMATCH`, `INVALID_CONTENT` and those of every request.
   */
  fetchManifest(ref: string, signal?: AbortSignal): Promise<ManifestOrIndex>

  /**
   * Some of the repository's tags, by one request that is not made again: for messages.
   * @returns undefined when the registry says that there is no such repository.
   * @throws AirgapError those of every request.
   */
  someTags(signal?: AbortSignal): Promise<string[] | undefined>

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
   * @param leastRate bytes a second that it has to come with, where that is not the usual least.
   */
  openBlob(digest: Digest, offset: number, signal?: AbortSignal, leastRate?: number): Promise<BlobStream>

  /** Puts a manifest or index under a tag or its digest. What it points to must be there already. */
  putManifest(
    ref: string,
    document: { bytes: Uint8Array; mediaType: string; digest: Digest },
    signal?: AbortSignal,
  ): Promise<void>

  /**
   * What refers to a manifest or index: signatures, attestations, SBOMs and whatever else names it as its subject. By
   * the registry's own list, or by the tag that stands in for it where the registry has none.
   * @returns descriptors by the registry's word, each digest once, without annotations that are long; nothing that they
   *   say has been checked, not even that what they lead to is there and refers to this digest.
   * @param onUnusable is told the digests of entries that are left out, because they are of another algorithm than ours.
   * @throws AirgapError when the list cannot be had: an empty one means that there are none.
   */
  referrers(
    digest: Digest,
    signal?: AbortSignal,
    onUnusable?: (digest: string) => void,
  ): Promise<Descriptor[]>

  /**
   * Sees to it that a manifest with a subject, which is there, is found among what refers to it: where the registry
   * does not keep that list, the tag that stands in for it is written. To be called for one manifest at a time.
   * @returns `listed` where the registry keeps the list; where the tag stands in for it, `added` where it was written
   *   now, and `tagged` where the manifest stood in it before.
   * @throws AirgapError `REGISTRY` also where the tag is something else than such a list; it is left as it is.
   */
  ensureReferrer(document: ManifestOrIndex, signal?: AbortSignal): Promise<'listed' | 'added' | 'tagged'>

  /**
   * Mounts a blob from another repository of the same registry.
   * @returns false when the registry does not do it, for whatever reason: then it must be uploaded.
   */
  mountBlob(digest: Digest, fromRepository: string, signal?: AbortSignal): Promise<boolean>

  /**
   * Uploads a blob: in one stream, and in chunks where that breaks off or is refused. The bytes are hashed as they
   * go, and the last of them are held back until the digest is seen to be right.
   * @param open gives the bytes from a position on; called anew for each part that is sent.
   * @param onProgress gets the bytes of this blob sent so far; less than before where something is sent again.
   * @param memory keeps the upload from run to run, so that a later one can go on with it.
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

/** In the same order, but for those that let us wait already: they go behind the others. */
export function slowLast<T>(sources: readonly T[], isSlow: (source: T) => boolean): T[] {
  return [...sources.filter((source) => !isSlow(source)), ...sources.filter(isSlow)]
}

/**
 * What a tag or digest of the target leads to, as far as it can be read. What is held back there is put again; what a tag
 * leads to is looked at once more when the image is signed, before it is set.
 */
export async function digestAt(
  repository: Repository,
  ref: string,
  signal: AbortSignal,
): Promise<Digest | undefined> {
  try {
    return (await repository.resolveManifest(ref, signal))?.digest
  } catch (error) {
    if (isHeldBack(error)) return undefined
    throw error
  }
}
