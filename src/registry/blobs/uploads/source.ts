import { createHash, type Hash } from 'node:crypto'
import { Readable } from 'node:stream'
import { AirgapError } from '../../../errors.ts'
import type { Context } from '../../notices.ts'

import type { Digest } from '../../../oci/digest.ts'

/** Watches the bytes of one request. */
export interface BodyWatch {
  /** Gets the position in the blob up to which bytes were taken. */
  onProgress: (bytes: number) => void
  stallTimeoutMs: number
  onStall: () => void
}

/** The hash of all bytes before `offset`. */
interface Mark {
  offset: number
  hash: Hash
}

/** For the start and the end of the current chunk. */
const MARKS_KEPT = 2

/**
 * A blob's bytes for sending, hashed from first to last whichever requests carry them. The last piece of the blob is
 * handed out only after the whole blob is found to have the right digest.
 */
export class BlobSource {
  /** An error of the bytes themselves. */
  fault: Error | undefined
  readonly #descriptor: UploadDescriptor
  readonly #open: (from: number) => AsyncIterable<Uint8Array>
  readonly #context: Context
  #marks: Mark[] = []
  #streams: Readable[] = []

  /** @param open opens the bytes from a position on. */
  constructor(
    descriptor: UploadDescriptor,
    open: (from: number) => AsyncIterable<Uint8Array>,
    context: Context,
  ) {
    this.#descriptor = descriptor
    this.#open = open
    this.#context = context
  }

  /** The bytes from `start` up to, but without, `end`, from a newly opened source. */
  body(start: number, end: number, watch: BodyWatch): Readable {
    const stream = Readable.from(this.#send(start, end, watch), {
      objectMode: false,
      highWaterMark: 64 * 1024,
    })
    // The sender of the stream sees its error; without a listener, a late error would end the process.
    stream.on('error', () => {})
    this.#streams.push(stream)
    return stream
  }

  /** Reads and checks the source without sending it: for an empty blob. */
  async check(): Promise<void> {
    for await (const piece of this.#verified(0, this.#descriptor.size)) void piece
  }

  /** Closes the source, however the request ended. */
  close(): void {
    for (const stream of this.#streams) stream.destroy()
    this.#streams = []
  }

  async *#send(start: number, end: number, watch: BodyWatch): AsyncGenerator<Uint8Array> {
    const { onProgress, onStall, stallTimeoutMs } = watch
    let position = start
    let timer: NodeJS.Timeout | undefined
    try {
      for await (const piece of this.#verified(start, end)) {
        timer = setTimeout(onStall, stallTimeoutMs)
        yield piece
        clearTimeout(timer)
        position += piece.length
        onProgress(position)
      }
    } finally {
      clearTimeout(timer)
    }
  }

  async *#verified(start: number, end: number): AsyncGenerator<Uint8Array> {
    const { digest, size } = this.#descriptor
    const { offset, hash } = this.#nearest(start)
    let position = offset
    let held: Uint8Array | undefined
    try {
      for await (const piece of this.#open(offset)) {
        if (piece.length === 0) continue
        if (end === size && position + piece.length > size) {
          throw this.#mismatch(`there are more than the ${size} bytes stated`)
        }
        const used = piece.subarray(0, end - position)
        hash.update(used)
        const fresh = used.subarray(Math.max(start - position, 0))
        position += used.length
        if (fresh.length > 0) {
          if (held !== undefined) yield held
          held = fresh
        }
        if (end < size && position === end) break
      }
      if (position < end) throw this.#mismatch(`there are ${position} bytes instead of ${size}`)
      if (end === size) {
        const actual = `sha256:${hash.digest('hex')}`
        if (actual !== digest) throw this.#mismatch(`its bytes have the digest ${actual}`)
      } else {
        this.#mark({ offset: end, hash })
      }
    } catch (error) {
      this.fault = error instanceof Error ? error : new Error(String(error))
      throw error
    }
    if (held !== undefined) yield held
  }

  /** Where to continue the hash. Bytes already read in this run are not read again just for the hash. */
  #nearest(start: number): Mark {
    const known = this.#marks.findLast(({ offset }) => offset <= start)
    return known
      ? { offset: known.offset, hash: known.hash.copy() }
      : { offset: 0, hash: createHash('sha256') }
  }

  #mark(mark: Mark): void {
    const others = this.#marks.filter(({ offset }) => offset < mark.offset)
    this.#marks = [...others, { offset: mark.offset, hash: mark.hash.copy() }].slice(-MARKS_KEPT)
  }

  #mismatch(reason: string): AirgapError {
    return new AirgapError('INVALID_CONTENT', `cannot ${this.#context.operation}: ${reason}`)
  }
}

/** The blob to upload. */
export interface UploadDescriptor {
  digest: Digest
  /** Bytes. */
  size: number
}
