import { createHash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import type { Worker } from 'node:worker_threads'
import type { BundleEntry, BundleReader } from '../../bundle/reader.ts'
import { AirgapError, fileError, messageOf } from '../../errors.ts'
import type { OutputFile } from '../../files/output-file.ts'
import type { Digest } from '../../oci/digest.ts'
import { startThread } from '../../threads.ts'

/** A part of an open file to hash. Bytes. */
export interface HashTask {
  id: number
  fd: number
  offset: number
  length: number
  /** Where the bytes that were hashed are written. */
  copyTo?: { fd: number; offset: number } | undefined
}

export type HashReply =
  | { id: number; type: 'progress'; bytes: number }
  | { id: number; type: 'done'; digest: Digest }
  | { id: number; type: 'failed'; message: string; code: string | undefined; isWrite: boolean }

/** Below this, starting threads takes longer than hashing here. Bytes. */
const WORTH_THREADS = 32 * 1024 * 1024

export interface HashOptions {
  onProgress?: (bytes: number) => void
  signal?: AbortSignal
  threads?: number
  /** Writes what was hashed, the very same bytes, to a place in another file. */
  copyTo?: { output: OutputFile; offsetOf: (entry: BundleEntry) => number }
}

/**
 * Hashes entries of a bundle on all cores, largest first.
 *
 * @param onEntry is told of each entry when its digest is known, in the order in which they finish.
 * @throws AirgapError `FILE` when the disk fails; the signal's reason when called off.
 */
export async function hashEntries(
  reader: BundleReader,
  entries: readonly BundleEntry[],
  onEntry: (entry: BundleEntry, digest: Digest) => void,
  options: HashOptions = {},
): Promise<void> {
  const total = entries.reduce((sum, { size }) => sum + size, 0)
  const threads = options.threads ?? Math.min(availableParallelism(), entries.length)
  if (total < WORTH_THREADS && options.threads === undefined) {
    for (const entry of entries) {
      options.signal?.throwIfAborted()
      onEntry(entry, await hashHere(reader, entry, options))
      options.onProgress?.(entry.size)
    }
    return
  }
  const queue = entries.toSorted((a, b) => b.size - a.size)
  const workers = Array.from({ length: Math.max(1, Math.min(threads, queue.length)) }, () =>
    startThread('hash'),
  )
  try {
    await Promise.all(workers.map((worker) => drain(worker, queue, reader, onEntry, options)))
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()))
  }
}

async function hashHere(reader: BundleReader, entry: BundleEntry, { copyTo }: HashOptions): Promise<Digest> {
  const hash = createHash('sha256')
  let offset = copyTo?.offsetOf(entry) ?? 0
  for await (const chunk of reader.stream(entry)) {
    hash.update(chunk)
    await copyTo?.output.write(chunk, offset)
    offset += chunk.length
  }
  return `sha256:${hash.digest('hex')}`
}

/** Gives one worker after the other entry until none is left. */
function drain(
  worker: Worker,
  queue: BundleEntry[],
  reader: BundleReader,
  onEntry: (entry: BundleEntry, digest: Digest) => void,
  { onProgress, signal, copyTo }: HashOptions,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let current: BundleEntry | undefined
    let id = 0
    // A large entry is not waited for: the threads are ended as soon as this is rejected.
    signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    const giveNext = (): void => {
      if (signal?.aborted) return reject(signal.reason as Error)
      current = queue.shift()
      if (!current) return resolve()
      id += 1
      worker.postMessage({
        id,
        fd: reader.fd,
        offset: current.contentOffset,
        length: current.size,
        copyTo: copyTo && { fd: copyTo.output.fd, offset: copyTo.offsetOf(current) },
      } satisfies HashTask)
    }
    worker.on('message', (reply: HashReply) => {
      if (reply.type === 'progress') {
        onProgress?.(reply.bytes)
      } else if (reply.type === 'failed') {
        const fault = Object.assign(new Error(reply.message), { code: reply.code })
        const isOutput = reply.isWrite && copyTo
        reject(fileError(fault, isOutput ? 'write' : 'read', isOutput ? copyTo.output.path : reader.path))
      } else if (current) {
        onEntry(current, reply.digest)
        giveNext()
      }
    })
    worker.on('error', (error) =>
      reject(new AirgapError('INTERNAL', `a hashing thread failed: ${messageOf(error)}`)),
    )
    giveNext()
  })
}
