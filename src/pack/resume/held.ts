import type { Digest } from '../../oci/digest.ts'
import type { JournalRecord } from './format.ts'
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'

/** How much of a blob there is. Bytes from its first one on. */
interface Extent {
  written: number
  synced: number
  /** Grows when the blob is begun anew; what was written before then is of no account. */
  attempt: number
}

/** What a journal's records come to, in their order. */
export class HeldBlobs {
  /** How many records there are. */
  count = 0
  /** Whether all that was to be copied from elsewhere is here, on the disk. */
  isCopied = false
  isComplete = false
  readonly #extents = new Map<Digest, Extent>()
  /** What has been written and not synced yet, with the number of its record. */
  #unsynced: { number: number; blob: Digest; bytes: number; attempt: number }[] = []
  #run: string | undefined

  apply(record: JournalRecord): void {
    this.count += 1
    if ('blob' in record) {
      this.#write(record.blob, 'finished' in record ? record.finished : record.written)
    } else if ('synced' in record) {
      this.#sync(record.synced)
    } else if ('run' in record) {
      if (this.#run !== undefined && this.#run !== record.run) this.#lose()
      this.#run = record.run
      this.isComplete = false
    } else if ('lost' in record) {
      this.#lose()
    } else if ('copied' in record) {
      this.isCopied = true
    } else {
      this.isComplete = true
    }
  }

  /** To be called when all records are known: a machine that was started anew has only what was synced. */
  resumeOn(run: string): void {
    if (this.#run !== run) this.#lose()
  }

  /** Whether nothing is known but that a run has begun. */
  get isNew(): boolean {
    return this.#extents.size === 0
  }

  get run(): string | undefined {
    return this.#run
  }

  /** How many bytes of a blob there are, from its first one on, as far as the journal can be believed. */
  bytesOf(blob: Digest): number {
    return this.#extents.get(blob)?.written ?? 0
  }

  /** What a blob can be gone on from when its bytes are not what they should be: less, or nothing. */
  fallbackOf(blob: Digest): number {
    const { written = 0, synced = 0 } = this.#extents.get(blob) ?? {}
    return synced < written ? synced : 0
  }

  /** Bytes of all blobs together. */
  get bytes(): number {
    let sum = 0
    for (const { written } of this.#extents.values()) sum += written
    return sum
  }

  #write(blob: Digest, bytes: number): void {
    const extent = this.#extents.get(blob) ?? { written: 0, synced: 0, attempt: 0 }
    if (bytes < extent.written) {
      extent.attempt += 1
      extent.synced = Math.min(extent.synced, bytes)
    }
    extent.written = bytes
    this.#extents.set(blob, extent)
    this.#unsynced.push({ number: this.count, blob, bytes, attempt: extent.attempt })
  }

  #sync(upTo: number): void {
    const end = this.#unsynced.findIndex(({ number }) => number > upTo)
    for (const { blob, bytes, attempt } of this.#unsynced.splice(0, end < 0 ? this.#unsynced.length : end)) {
      const extent = this.#extents.get(blob)
      if (extent?.attempt === attempt) extent.synced = Math.max(extent.synced, bytes)
    }
  }

  #lose(): void {
    this.#unsynced = []
    for (const extent of this.#extents.values()) extent.written = extent.synced
  }
}

/**
 * A name for this start of the machine: as long as it is the same, what was written is still in the page cache, synced
 * or not (proc_sys_kernel(5), random/boot_id). Where there is none, another one each time.
 */
export async function bootName(): Promise<string> {
  const text = await readFile('/proc/sys/kernel/random/boot_id', 'latin1').catch(() => '')
  return /^[0-9a-f-]{36}\n$/.test(text) ? text.trim() : randomUUID()
}
