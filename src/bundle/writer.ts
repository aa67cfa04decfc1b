import { once } from 'node:events'
import type { Writable } from 'node:stream'
import { AirgapError, fileError, systemCode } from '../errors.ts'
import type { OutputFile } from '../files/output-file.ts'
import { headerOf, type BundlePlan, type PlannedEntry } from './plan.ts'
import { END_SIZE, paddingLength } from './tar.ts'

/**
 * Writes a plan to a file: each byte once, at its place, in any order. Headers and known content go first; the
 * caller then writes the fetched blobs by {@link writeContent} and ends with {@link finish}, which writes the
 * signatures and gives the file its name.
 */
export class FileWriter {
  readonly #output: OutputFile
  readonly #plan: BundlePlan

  constructor(output: OutputFile, plan: BundlePlan) {
    this.#output = output
    this.#plan = plan
  }

  /** Checks free space, then writes all headers and what is known. Padding and end stay zero. */
  async begin(): Promise<void> {
    await this.#output.allocate(this.#plan.totalSize)
    for (const entry of this.#plan.entries) {
      if (entry.isSignature) continue
      await this.#output.write(headerOf(entry), entry.headerOffset)
      if (entry.bytes) await this.#output.write(entry.bytes, entry.contentOffset)
    }
  }

  /** Writes a part of a blob; `position` counts from the blob's first byte. */
  async writeContent(entry: PlannedEntry, chunks: readonly Uint8Array[], position: number): Promise<void> {
    const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    if (position < 0 || position + length > entry.size) {
      throw new AirgapError('INTERNAL', `a write beyond the end of ${entry.name}`)
    }
    await this.#output.writeAll(chunks, entry.contentOffset + position)
  }

  async finish(): Promise<void> {
    for (const entry of this.#plan.entries) {
      if (!entry.isSignature || !entry.bytes) continue
      await this.#output.write(headerOf(entry), entry.headerOffset)
      await this.#output.write(entry.bytes, entry.contentOffset)
    }
    await this.#output.commit()
  }
}

/** Writes the same bytes in order, to a pipe. */
export class StreamWriter {
  readonly #stream: Writable
  readonly #signal: AbortSignal | undefined
  #failure: Error | undefined

  constructor(stream: Writable, signal?: AbortSignal) {
    this.#stream = stream
    this.#signal = signal
    stream.on('error', (error: Error) => {
      this.#failure ??= error
    })
  }

  async begin(entry: PlannedEntry): Promise<void> {
    await this.write(headerOf(entry))
  }

  /** Waits until the reader at the other end has taken enough for more to be written. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#check()
    if (this.#stream.write(bytes)) return
    try {
      await once(this.#stream, 'drain', this.#signal ? { signal: this.#signal } : {})
    } catch (error) {
      this.#signal?.throwIfAborted()
      throw streamError(error)
    }
    this.#check()
  }

  async writeAll(chunks: readonly Uint8Array[]): Promise<void> {
    for (const chunk of chunks) await this.write(chunk)
  }

  async end(entry: PlannedEntry): Promise<void> {
    await this.write(Buffer.alloc(paddingLength(entry.size)))
  }

  async finish(): Promise<void> {
    await this.write(Buffer.alloc(END_SIZE))
    // Waits for the last byte to leave; standard output itself is not ours to close.
    await new Promise<void>((resolve, reject) => {
      this.#stream.write('', (error) => (error ? reject(streamError(error)) : resolve()))
    })
  }

  #check(): void {
    if (this.#failure) throw streamError(this.#failure)
  }
}

function streamError(error: unknown): AirgapError {
  if (systemCode(error) === 'EPIPE') {
    return new AirgapError(
      'FILE',
      'the reader of standard output has gone away before the bundle was complete',
      {
        hint: 'What it has received is not a whole bundle. Look at the other command of the pipe.',
        cause: error,
      },
    )
  }
  return fileError(error, 'write to', 'standard output')
}
