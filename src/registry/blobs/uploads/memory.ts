/** What is remembered of an upload that did not come to its end. */
export interface KnownUpload {
  /** In one stream, which no registry can take up again, or in chunks. */
  mode: 'stream' | 'chunks'
  /** The session's Location, on the registry's own origin. */
  location: URL | undefined
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
