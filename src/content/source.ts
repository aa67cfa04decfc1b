import type { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { Descriptor, ManifestOrIndex } from '../oci/manifest.ts'

/** What a place says about a manifest without sending it. */
export interface ManifestInfo {
  digest: Digest
  mediaType: string
  /** Bytes. */
  size: number
  /** The manifest itself, where the place could not say this without sending it. */
  document?: ManifestOrIndex
}

/**
 * Where images are read from: a repository of a registry, and whatever else comes. Content is asked for by digest, and
 * checked by whoever asks.
 */
export interface Source {
  /** For messages. */
  readonly name: string
  /** `HOST[:PORT]` that it is on. */
  readonly registry: string

  /**
   * Reads a manifest or index by tag or digest, capped and hashed; by digest the hash must match.
   * @throws AirgapError `NOT_FOUND`, `CONTENT_MISMATCH`, `INVALID_CONTENT` and those of every request.
   */
  fetchManifest(ref: string, signal?: AbortSignal): Promise<ManifestOrIndex>

  /**
   * Opens a blob for reading from byte `offset` on. One attempt, bytes unchecked: {@link downloadBlob} is what
   * callers want.
   * @param leastRate bytes a second that it has to come with, where that is not the usual least.
   */
  openBlob(digest: Digest, offset: number, signal?: AbortSignal, leastRate?: number): Promise<BlobStream>

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
   * Reads a small blob (a config) into memory, digest checked.
   * @throws AirgapError `INVALID_CONTENT` when its descriptor states more than `maxBytes`.
   */
  fetchSmallBlob(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    maxBytes: number,
    signal?: AbortSignal,
  ): Promise<Buffer>

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
}

/** Where images are put. */
export interface Target extends Pick<Source, 'name' | 'registry' | 'resolveManifest' | 'fetchManifest'> {
  /** Whether a blob is there, by HEAD, and how long the registry says it is. */
  statBlob(digest: Digest, signal?: AbortSignal): Promise<{ size: number | undefined } | undefined>

  /** Puts a manifest or index under a tag or its digest. What it points to must be there already. */
  putManifest(
    ref: string,
    document: { bytes: Uint8Array; mediaType: string; digest: Digest },
    signal?: AbortSignal,
  ): Promise<void>

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

/** A blob being read. */
export interface BlobStream {
  /** The byte that the stream begins with: the one asked for, or 0 where the server does not do ranges. */
  start: number
  /** The whole blob's length as the server states it. */
  total: number | undefined
  /** Content-Encoding, where the server states one. */
  encoding: string | undefined
  body: AsyncIterable<Uint8Array>
  /** Says of an error made of its end where it came from. */
  withOrigin: (error: AirgapError) => AirgapError
  /** Gives it up. */
  cancel(): void
}

/** In the same order, but for those that let us wait already: they go behind the others. */
export function slowLast<T>(sources: readonly T[], isSlow: (source: T) => boolean): T[] {
  return [...sources.filter((source) => !isSlow(source)), ...sources.filter(isSlow)]
}

/**
 * Keeps one blob's upload session from run to run. Nothing in it is trusted: where to go on is for the registry's
 * own answer to say, and whether the bytes are right for the digest.
 */
export interface UploadMemory {
  /** What an earlier run has left, and no other run is at work on; once. */
  recall(): KnownUpload | undefined
  /** Settled when it is kept; never fails. */
  note(upload: { mode: 'stream' | 'chunks'; location: URL; acknowledged: number }): Promise<void>
  /** The blob is where it belongs. */
  forget(): void
}

/** What is remembered of an upload that did not come to its end. */
export interface KnownUpload {
  /** In one stream, which no registry can take up again, or in chunks. */
  mode: 'stream' | 'chunks'
  /** The session's Location, on the registry's own origin. */
  location: URL | undefined
}
