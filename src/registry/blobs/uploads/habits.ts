import type { Connection } from '../../net/connection.ts'
import type { RegistryNotice } from '../../notices.ts'

/** Bytes. */
const MIB = 1024 * 1024

/**
 * What is known about uploads to one registry, for the client's lifetime: how large a request it, or a proxy in front
 * of it, accepts, and whether it accepts blobs in one stream at all. Sizes are bytes.
 */
export class UploadHabits {
  /** The usual size of a chunk. A failure costs at most this much. */
  chunkSize = 32 * MIB
  /** The smallest chunk to try. */
  floor = MIB / 4
  /** A smaller blob gets a second try in one stream before it is sent in chunks, and is not remembered between runs. */
  small = 8 * MIB
  /** The smallest size that was refused as too large. */
  refusedSize = Number.POSITIVE_INFINITY
  /** The chunk size last reported to the user. */
  #toldSize: number | undefined
  /** Whether chunks were accepted after one stream was refused. */
  prefersChunks = false

  /** Whether a blob should be sent in chunks from the start. */
  wantsChunks(size: number): boolean {
    return this.prefersChunks || size >= this.refusedSize
  }

  /**
   * A request of `length` bytes was refused as too large: from now on, chunks have at most half of that.
   * @returns false where there is nothing smaller to try.
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
   * The notice for a chunk that was accepted after larger ones were refused: uploads now go in chunks. Once for each
   * size.
   */
  news(registry: string): RegistryNotice | undefined {
    if (this.refusedSize === Number.POSITIVE_INFINITY || this.#toldSize === this.chunkSize) return undefined
    this.#toldSize = this.chunkSize
    return {
      type: 'warning',
      message: `${registry}, or a proxy in front of it, refuses large requests: uploads to it go in chunks of ${sizeText(this.chunkSize)}`,
    }
  }
}

const known = new WeakMap<Connection, UploadHabits>()

/** One for each connection. */
export function habitsOf(connection: Connection): UploadHabits {
  const found = known.get(connection) ?? new UploadHabits()
  known.set(connection, found)
  return found
}

/** A short text for a number of bytes, for messages about chunks. */
export function sizeText(bytes: number): string {
  if (bytes >= MIB && bytes % MIB === 0) return `${bytes / MIB} MiB`
  if (bytes >= 1024 && bytes % 1024 === 0) return `${bytes / 1024} KiB`
  return `${bytes} bytes`
}
