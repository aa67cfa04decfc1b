import { createHash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import type { Worker } from 'node:worker_threads'
import { AirgapError, fileError, messageOf } from '../errors.ts'
import type { OutputFile } from '../files/output-file.ts'
import type { Digest } from '../oci/digest.ts'
import { startThread } from '../threads.ts'

/** A part of an open file to hash. Bytes. */
export interface RangeTask {
  id: number
  fd: number
  offset: number
  length: number
  /** Where to copy the hashed bytes. */
  copyTo?: { fd: number; offset: number } | undefined
}

export type RangeReply =
  | { id: number; type: 'progress'; bytes: number }
  | { id: number; type: 'done'; digest: Digest }
  | { id: number; type: 'failed'; message: string; code: string | undefined; isWrite: boolean }

/** Below this many bytes, starting threads takes longer than hashing in this thread. */
export const WORTH_THREADS = 32 * 1024 * 1024

/** A part of a file. Bytes. */
export interface Range {
  contentOffset: number
  size: number
}

/** An open file that is read at several places at once. */
export interface RangeSource<T extends Range> {
  readonly path: string
  readonly fd: number
  stream(range: T): AsyncIterable<Uint8Array>
}

export interface HashRangesOptions<T extends Range> {
  onProgress?: (bytes: number) => void
  signal?: AbortSignal | undefined
  threads?: number
  /** Copies the very bytes that were hashed into another file. */
  copyTo?: { output: OutputFile; offsetOf: (range: T) => number }
}

/**
 * Hashes parts of a file on all cores. Starts them in the given order, so put the largest first.
 *
 * @param onRange is called with each part's digest, in the order in which the parts finish.
 * @throws AirgapError `FILE` if the disk fails; the signal's reason if aborted.
 */
export async function hashRanges<T extends Range>(
  source: RangeSource<T>,
  ranges: readonly T[],
  onRange: (range: T, digest: Digest) => void,
  options: HashRangesOptions<T> = {},
): Promise<void> {
  const total = ranges.reduce((sum, { size }) => sum + size, 0)
  const threads = options.threads ?? Math.min(availableParallelism(), ranges.length)
  if (total < WORTH_THREADS && options.threads === undefined) {
    for (const range of ranges) {
      options.signal?.throwIfAborted()
      onRange(range, await hashHere(source, range, options))
      options.onProgress?.(range.size)
    }
    return
  }
  const queue = [...ranges]
  const workers = Array.from({ length: Math.max(1, Math.min(threads, queue.length)) }, () =>
    startThread('range-hash'),
  )
  const over = new AbortController()
  try {
    await Promise.all(workers.map((worker) => drain(worker, queue, source, onRange, options, over.signal)))
  } finally {
    over.abort()
    await Promise.all(workers.map((worker) => worker.terminate()))
  }
}

async function hashHere<T extends Range>(
  source: RangeSource<T>,
  range: T,
  { copyTo }: HashRangesOptions<T>,
): Promise<Digest> {
  const hash = createHash('sha256')
  let offset = copyTo?.offsetOf(range) ?? 0
  for await (const chunk of source.stream(range)) {
    hash.update(chunk)
    await copyTo?.output.write(chunk, offset)
    offset += chunk.length
  }
  return `sha256:${hash.digest('hex')}`
}

/** Gives a worker one part after another until none is left. */
function drain<T extends Range>(
  worker: Worker,
  queue: T[],
  source: RangeSource<T>,
  onRange: (range: T, digest: Digest) => void,
  { onProgress, signal, copyTo }: HashRangesOptions<T>,
  over: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let current: T | undefined
    let id = 0
    // Do not wait for a large part: the threads are terminated as soon as this rejects.
    signal?.addEventListener('abort', () => reject(signal.reason as Error), {
      once: true,
      // Removes the listener from a signal that outlives this call.
      signal: over,
    })
    const giveNext = (): void => {
      if (signal?.aborted) return reject(signal.reason as Error)
      current = queue.shift()
      if (!current) return resolve()
      id += 1
      worker.postMessage({
        id,
        fd: source.fd,
        offset: current.contentOffset,
        length: current.size,
        copyTo: copyTo && { fd: copyTo.output.fd, offset: copyTo.offsetOf(current) },
      } satisfies RangeTask)
    }
    worker.on('message', (reply: RangeReply) => {
      if (reply.type === 'progress') {
        onProgress?.(reply.bytes)
      } else if (reply.type === 'failed') {
        const fault = Object.assign(new Error(reply.message), { code: reply.code })
        const isOutput = reply.isWrite && copyTo
        reject(fileError(fault, isOutput ? 'write' : 'read', isOutput ? copyTo.output.path : source.path))
      } else if (current) {
        onRange(current, reply.digest)
        giveNext()
      }
    })
    worker.on('error', (error) =>
      reject(new AirgapError('INTERNAL', `a hashing thread failed: ${messageOf(error)}`)),
    )
    giveNext()
  })
}
