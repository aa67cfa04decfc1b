import type { Connection } from '../../net/connection.ts'
import type { RegistryNotice } from '../../notices.ts'

/** Bytes. */
const MIB = 1024 * 1024

/**
 * What has been learned about the uploads of one registry, for as long as the client lives: how large a request it,
 * or whatever stands in front of it, takes, and whether it takes blobs in one stream at all. Sizes are bytes.
 */
export class UploadHabits {
  /** What a chunk has where nobody asks for less or more. A fault costs at most so much. */
  chunkSize = 32 * MIB
  /** Smaller chunks are not tried. */
  floor = MIB / 4
  /** A blob below this goes once more in one stream before it is cut up, and is not remembered from run to run. */
  small = 8 * MIB
  /** The least that has been refused as too large. */
  refusedSize = Number.POSITIVE_INFINITY
  /** The size of chunks that users have been told of. */
  #toldSize: number | undefined
  /** One stream was refused where chunks went through. */
  prefersChunks = false

  /** Whether a blob had better be sent in chunks from the start. */
  wantsChunks(size: number): boolean {
    return this.prefersChunks || size >= this.refusedSize
  }

  /**
   * A request of `length` bytes was refused as too large: from now on chunks have at most half of that.
   * @returns false where nothing smaller is left to be tried.
   */
  refuse(length: number): boolean {
    this.refusedSize = Math.min(this.refusedSize, length)
    let next = this.floor
    while (next * 2 < length && next * 2 <= this.chunkSize) next *= 2
    if (next >= length) return false
    this.chunkSize = next
    return true
  }

  /**
   * What there is to tell when a chunk has been taken: that uploads go another way since larger ones were refused.
   * Once for each size.
   */
  news(registry: string): RegistryNotice | undefined {
    if (this.refusedSize === Number.POSITIVE_INFINITY || this.#toldSize === this.chunkSize) return undefined
    this.#toldSize = this.chunkSize
    return {
      type: 'warning',
      message: `${registry}, or a proxy in front of it, refuses large requests: uploads go there in chunks of ${sizeText(this.chunkSize)}`,
    }
  }
}

const known = new WeakMap<Connection, UploadHabits>()

/** One for each registry that is connected to. */
export function habitsOf(connection: Connection): UploadHabits {
  const found = known.get(connection) ?? new UploadHabits()
  known.set(connection, found)
  return found
}

/** A number of bytes in few letters, for messages about chunks. */
export function sizeText(bytes: number): string {
  if (bytes >= MIB && bytes % MIB === 0) return `${bytes / MIB} MiB`
  if (bytes >= 1024 && bytes % 1024 === 0) return `${bytes / 1024} KiB`
  return `${bytes} bytes`
}
