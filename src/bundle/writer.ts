import { once } from 'node:events'
import type { Writable } from 'node:stream'
import { AirgapError, fileError, systemCode } from '../errors.ts'
import type { OutputFile } from '../files/output-file.ts'
import { entryHeader, type BundlePlan, type PlannedEntry } from './plan.ts'
import { END_SIZE, paddingLength } from './tar.ts'

/**
 * Writes a planned bundle to a file: each byte once, at its place, in any order. {@link begin} writes headers and known
 * content. The caller then writes the fetched blobs with {@link writeContent} and calls {@link finish}, which writes the
 * signatures and gives the file its name.
 */
export class FileWriter {
  readonly #output: OutputFile
  readonly #plan: BundlePlan

  constructor(output: OutputFile, plan: BundlePlan) {
    this.#output = output
    this.#plan = plan
  }

  /**
   * Checks free space, then writes all headers and the known content. Padding and end mark are zero. In a file that an
   * earlier run left, they and the place of the signatures are zeroed again.
   */
  async begin(): Promise<void> {
    const { entries, totalSize } = this.#plan
    const isNew = this.#output.sizeBefore === 0
    await this.#output.allocate(totalSize)
    for (const entry of entries) {
      const { headerOffset, contentOffset, size } = entry
      if (!isNew) await this.#clear(contentOffset + size, paddingLength(size))
      if (entry.isSignature) {
        if (!isNew) await this.#clear(headerOffset, contentOffset + size - headerOffset)
        continue
      }
      await this.#output.write(entryHeader(entry), headerOffset)
      const bytes = await entry.read?.()
      if (bytes) await this.#output.write(bytes, contentOffset)
    }
    if (!isNew) await this.#clear(totalSize - END_SIZE, END_SIZE)
  }

  async #clear(position: number, length: number): Promise<void> {
    if (length > 0) await this.#output.write(Buffer.alloc(length), position)
  }

  /** Writes part of a blob. `position` counts from the blob's first byte. */
  async writeContent(entry: PlannedEntry, bytes: Uint8Array, position: number): Promise<void> {
    if (position < 0 || position + bytes.length > entry.size) {
      throw new AirgapError('INTERNAL', `a write beyond the end of ${entry.name}`)
    }
    await this.#output.write(bytes, entry.contentOffset + position)
  }

  /** Fills the place of the signatures with zeros, so that the disk cannot run full when they are written. */
  async holdSignature(): Promise<void> {
    for (const { isSignature, headerOffset, contentOffset, size } of this.#plan.entries) {
      if (isSignature) await this.#clear(headerOffset, contentOffset + size - headerOffset)
    }
  }

  /**
   * Writes the signatures, syncs the file and gives it its name.
   * @param signal can abort this until the file gets its name.
   * @param options for {@link OutputFile.commit}.
   * @param late the signature, if the plan only reserved space for it.
   */
  async finish(
    signal?: AbortSignal,
    options?: Parameters<OutputFile['commit']>[1],
    late?: Buffer,
  ): Promise<void> {
    for (const entry of this.#plan.entries) {
      if (!entry.isSignature) continue
      const bytes = entry.signature ?? late
      if (bytes?.length !== entry.size) {
        throw new AirgapError('INTERNAL', `there is no signature of the right size for ${entry.name}`)
      }
      await this.#output.write(entryHeader(entry), entry.headerOffset)
      await this.#output.write(bytes, entry.contentOffset)
    }
    await this.#output.commit(signal, options)
  }
}

/** Writes the same bytes in order to a stream. Does not end the stream. */
export class StreamWriter {
  readonly #stream: Writable
  readonly #signal: AbortSignal | undefined
  readonly #failed = new AbortController()
  readonly #fail = (error?: Error): void => this.#failed.abort(error ?? new Error('it was closed'))

  constructor(stream: Writable, signal?: AbortSignal) {
    this.#stream = stream
    this.#signal = signal
    stream.on('error', this.#fail)
    stream.on('close', this.#fail)
  }

  /**
   * Stops listening to the stream's events when everything is written. Not for use after a failure: a pending write can
   * fail later, and an error event without a listener would end the process.
   */
  release(): void {
    this.#stream.off('error', this.#fail)
    this.#stream.off('close', this.#fail)
  }

  async begin(entry: PlannedEntry): Promise<void> {
    await this.write(entryHeader(entry))
  }

  /** Writes, and waits while the stream's buffer is full. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#check()
    if (!this.#stream.write(bytes)) await this.#heard((signal) => once(this.#stream, 'drain', { signal }))
  }

  async end(entry: PlannedEntry): Promise<void> {
    await this.write(Buffer.alloc(paddingLength(entry.size)))
  }

  async finish(): Promise<void> {
    await this.write(Buffer.alloc(END_SIZE))
    // Waits for the last byte to leave.
    await this.#heard(
      (signal) =>
        new Promise<void>((resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
          this.#stream.write('', (error) => (error ? reject(error) : resolve()))
        }),
    )
  }

  /** Waits for the stream, but no longer than until it fails or the signal aborts. */
  async #heard(wait: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
    const either = [this.#failed.signal, ...(this.#signal ? [this.#signal] : [])]
    try {
      await wait(AbortSignal.any(either))
    } catch (error) {
      this.#check()
      throw streamError(error, this.#stream)
    }
    this.#check()
  }

  #check(): void {
    this.#signal?.throwIfAborted()
    if (this.#stream.destroyed) this.#fail(this.#stream.errored ?? undefined)
    if (this.#failed.signal.aborted) throw streamError(this.#failed.signal.reason, this.#stream)
  }
}

function streamError(error: unknown, stream: Writable): AirgapError {
  const name = stream === process.stdout ? 'standard output' : 'the output stream'
  if (systemCode(error) === 'EPIPE') {
    return new AirgapError('FILE', `the reader of ${name} stopped reading before the bundle was complete`, {
      hint: 'It has received only part of the bundle. Check the other command of the pipe.',
      cause: error,
    })
  }
  return fileError(error, 'write to', name)
}
