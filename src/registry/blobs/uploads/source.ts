import { createHash, type Hash } from 'node:crypto'
import { Readable } from 'node:stream'
import { AirgapError } from '../../../errors.ts'
import type { Context } from '../../notices.ts'

import type { Digest } from '../../../oci/digest.ts'

/** How the bytes of one request are watched. */
export interface BodyWatch {
  /** Gets the position in the blob up to which bytes have been taken. */
  onProgress: (bytes: number) => void
  stallTimeoutMs: number
  onStall: () => void
}

/** The hash of all bytes before `offset`. */
interface Mark {
  offset: number
  hash: Hash
}

/** Where the present chunk begins, and where it ends. */
const MARKS_KEPT = 2

/**
 * A blob's bytes on their way out, hashed from the first to the last whatever the requests are that carry them. The
 * last piece of the blob is handed out only when the whole is seen to have the right digest.
 */
export class BlobSource {
  /** What went wrong with the bytes themselves. */
  fault: Error | undefined
  readonly #descriptor: UploadDescriptor
  readonly #open: (from: number) => AsyncIterable<Uint8Array>
  readonly #context: Context
  #marks: Mark[] = []
  #streams: Readable[] = []

  /** @param open gives the bytes from a position on. */
  constructor(
    descriptor: UploadDescriptor,
    open: (from: number) => AsyncIterable<Uint8Array>,
    context: Context,
  ) {
    this.#descriptor = descriptor
    this.#open = open
    this.#context = context
  }

  /** The bytes from `start` up to and without `end`, from a newly opened source. */
  body(start: number, end: number, watch: BodyWatch): Readable {
    const stream = Readable.from(this.#send(start, end, watch), {
      objectMode: false,
      highWaterMark: 64 * 1024,
    })
    // Whoever sends the stream sees its error; without a listener a late one would end the process.
    stream.on('error', () => {})
    this.#streams.push(stream)
    return stream
  }

  /** Reads and checks the source without sending it: for an empty blob. */
  async check(): Promise<void> {
    for await (const piece of this.#verified(0, this.#descriptor.size)) void piece
  }

  /** Lets go of the source, whichever way the request ended. */
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

  /** From where to hash on: what was read once in this run is not read again for the hash alone. */
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

/** What is uploaded. */
export interface UploadDescriptor {
  digest: Digest
  /** Bytes. */
  size: number
}
