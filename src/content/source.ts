import type { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { Descriptor, ManifestOrIndex } from '../oci/manifest.ts'

/** What a source says about a manifest without sending it. */
export interface ManifestInfo {
  digest: Digest
  mediaType: string
  /** Bytes. */
  size: number
  /** The manifest itself, where the source had to send it to say this. */
  document?: ManifestOrIndex
}

/** A place that images are read from. A repository of a registry is one. */
export interface Source {
  /** For messages. */
  readonly name: string
  /** The registry, `HOST[:PORT]`. */
  readonly registry: string

  /**
   * Reads a manifest or index by tag or digest, with a limit on its size. A digest must match.
   * @throws AirgapError `NOT_FOUND`, `CONTENT_MISMATCH`, `INVALID_CONTENT` and the errors of every request.
   */
  fetchManifest(ref: string, signal?: AbortSignal): Promise<ManifestOrIndex>

  /**
   * Opens a blob for reading from byte `offset` on. One attempt, and the bytes are not checked:
   * callers want `downloadBlob`.
   * @param leastRate the lowest acceptable rate in bytes a second, instead of the default.
   */
  openBlob(digest: Digest, offset: number, signal?: AbortSignal, leastRate?: number): Promise<BlobStream>

  /** Whether it was slow, so that others with the same content are asked first. */
  readonly isSlow?: boolean
  /** Reports that it was slow. */
  wasSlow?(): void
  /** For mirrors: called with the error that makes us ask the next source. */
  readonly onPassedOver?: ((error: AirgapError) => void) | undefined

  /**
   * Looks up a tag or digest: by HEAD, or by GET and hashing where the answer to HEAD is incomplete.
   * @returns undefined if there is no such manifest.
   */
  resolveManifest(ref: string, signal?: AbortSignal): Promise<ManifestInfo | undefined>

  /**
   * Resolves a tag that belongs to a manifest of this repository and mostly does not exist, like cosign's. A 403 counts
   * as "not found" if the manifest itself can be read.
   * @param subject the manifest that the tag belongs to.
   * @returns undefined when there is no such tag.
   */
  resolveAttached(tag: string, subject: Digest, signal?: AbortSignal): Promise<ManifestInfo | undefined>

  /**
   * All tags of the repository, by a few requests at most.
   * @returns undefined if they cannot be listed so, or if the list may lack some: then ask for each tag.
   */
  allTags(signal?: AbortSignal): Promise<ReadonlySet<string> | undefined>

  /**
   * Reads a small blob, such as a config, into memory and checks its digest.
   * @throws AirgapError `INVALID_CONTENT` if its descriptor states more than `maxBytes`.
   */
  fetchSmallBlob(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    maxBytes: number,
    signal?: AbortSignal,
  ): Promise<Buffer>

  /**
   * Lists what names a manifest or index as its subject: signatures, attestations, SBOMs. Uses the referrers API, or the
   * tag that replaces it where the registry has no such API.
   * @returns the registry's descriptors, each digest once, without long annotations. Nothing in them is checked, not even
   *   that the manifests exist and refer to this digest.
   * @param options.onUnusable gets the digests of entries that are left out because they are not SHA-256.
   * @param options.mayHave whether the repository may have a tag, if that is known: saves asking for the tag that replaces
   *   the API.
   * @throws AirgapError if the list cannot be fetched; an empty list means that there are none.
   */
  referrers(digest: Digest, signal?: AbortSignal, options?: ReferrersOptions): Promise<Descriptor[]>
}

/** A place that images are put into. */
export interface Target extends Pick<Source, 'name' | 'registry' | 'resolveManifest' | 'fetchManifest'> {
  /** Looks for a blob by HEAD. The size is what the registry states. */
  statBlob(digest: Digest, signal?: AbortSignal): Promise<{ size: number | undefined } | undefined>

  /** Puts a manifest or index under a tag or its digest. What it points to must already exist. */
  putManifest(
    ref: string,
    document: { bytes: Uint8Array; mediaType: string; digest: Digest },
    signal?: AbortSignal,
  ): Promise<void>

  /**
   * Makes sure that a manifest with a subject, which is in the registry, is listed as its subject's referrer. Where the
   * registry has no referrers API, this writes the tag that replaces it. Call it for one manifest at a time.
   * @returns `listed` if the registry keeps the list; otherwise `added` if the tag was written now, and `tagged` if it
   *   listed the manifest before.
   * @throws AirgapError `REGISTRY` also if the tag is not such a list; it is not changed then.
   */
  ensureReferrer(document: ManifestOrIndex, signal?: AbortSignal): Promise<'listed' | 'added' | 'tagged'>

  /**
   * Mounts a blob from another repository of the same registry.
   * @returns false if the registry does not do it, for any reason: then upload the blob.
   */
  mountBlob(digest: Digest, fromRepository: string, signal?: AbortSignal): Promise<boolean>

  /**
   * Uploads a blob: in one stream, and in chunks if that breaks off or is refused. Hashes the bytes on their way, and
   * holds the last of them back until the digest is known to be right.
   * @param open gives the bytes from a position on. Called again for each part that is sent.
   * @param onProgress gets the number of bytes sent so far; it can go down, when something is sent again.
   * @param memory remembers the upload, so that a later run can resume it.
   * @throws AirgapError `INVALID_CONTENT` if the bytes do not match the descriptor.
   */
  uploadBlob(
    descriptor: { digest: Digest; size: number },
    open: (from: number) => AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
    onProgress?: (bytes: number) => void,
    memory?: UploadMemory,
  ): Promise<void>
}

/** See {@link Source.referrers}. */
export interface ReferrersOptions {
  onUnusable?: ((digest: string) => void) | undefined
  mayHave?: ((tag: string) => Promise<boolean>) | undefined
}

/** A blob that is being read. */
export interface BlobStream {
  /** The stream's first byte: the requested one, or 0 where the server does not support ranges. */
  start: number
  /** The whole blob's length as the server states it. */
  total: number | undefined
  /** Content-Encoding, where the server states one. */
  encoding: string | undefined
  body: AsyncIterable<Uint8Array>
  /** Adds to an error of this stream where it came from. */
  withOrigin: (error: AirgapError) => AirgapError
  /** Gives the stream up. */
  cancel(): void
}

/** In the same order, except that slow ones come after the others. */
export function slowLast<T>(sources: readonly T[], isSlow: (source: T) => boolean): T[] {
  return [...sources.filter((source) => !isSlow(source)), ...sources.filter(isSlow)]
}

/**
 * Remembers one blob's upload session from run to run. It is not trusted: the registry says where to resume, and the
 * digest says whether the bytes are right.
 */
export interface UploadMemory {
  /** What an earlier run left, unless another run is using it. Returned once. */
  recall(): KnownUpload | undefined
  /** Settled when it is saved; never fails. */
  note(upload: { mode: 'stream' | 'chunks'; location: URL; acknowledged: number }): Promise<void>
  /** The blob is stored. */
  forget(): void
}

/** What is remembered of an unfinished upload. */
interface KnownUpload {
  /** In one stream, which no registry can resume, or in chunks. */
  mode: 'stream' | 'chunks'
  /** The session's Location, on the registry's own origin. */
  location: URL | undefined
}
