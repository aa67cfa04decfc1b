import { read } from 'node:fs'
import { promisify } from 'node:util'
import { AirgapError, fileError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { type Block, BLOCK_SIZE, BlockPool, HashThreads, LocalHash } from './stream-threads.ts'
import { type Range, WORTH_THREADS } from './range-threads.ts'

/** An open file that is read from beginning to end. */
export interface WholeSource {
  readonly path: string
  readonly fd: number
  /** Bytes. */
  readonly fileSize: number
}

export interface HashWholeOptions {
  /** Called with every number of bytes read; they add up to the whole file. */
  onProgress?: (bytes: number) => void
  signal?: AbortSignal | undefined
}

/** How many blocks to read ahead of the hashing. */
const AHEAD = 8

const readAt = promisify(read)

/**
 * Hashes a file and parts of it in one pass. Each byte is read only once, so the digests of the parts and of the file
 * are of the same bytes. This can use two cores at most; {@link hashRanges} uses all cores, but gives no digest of the
 * whole file.
 *
 * @param ranges must not overlap.
 * @param onRange is called with each part's digest.
 * @returns the digest of the whole file.
 * @throws AirgapError `FILE` if the disk fails or the file becomes shorter; the signal's reason if aborted.
 */
export async function hashWhole<T extends Range>(
  source: WholeSource,
  ranges: readonly T[],
  onRange: (range: T, digest: Digest) => void,
  { onProgress, signal }: HashWholeOptions = {},
): Promise<Digest> {
  const isLarge = source.fileSize >= WORTH_THREADS
  // One thread each: hashing a part must not wait for the thread that hashes the whole file.
  const [ofFile, ofParts] = [new HashThreads(1), new HashThreads(1)]
  const pool = new BlockPool()
  const queue: Promise<void>[] = []
  const enqueue = async (work: Promise<void>): Promise<void> => {
    // A failure is thrown when its turn in the queue comes, unless something else fails first.
    work.catch(() => {})
    if (queue.push(work) > AHEAD) await queue.shift()
  }
  const whole = isLarge ? ofFile.open(source.fileSize) : new LocalHash()
  try {
    for (const { start, end, range } of segments(source.fileSize, ranges)) {
      const part = range && (isLarge ? ofParts.open(range.size) : new LocalHash())
      for (let at = start; at < end;) {
        signal?.throwIfAborted()
        const block = pool.take()
        const length = await fill(block, source, at, end - at)
        const hashed = Promise.all([whole.update(block, length), part?.update(block, length)])
        await enqueue(hashed.then(() => pool.give(block)))
        onProgress?.(length)
        at += length
      }
      if (part) await enqueue(part.digest().then((digest) => onRange(range, digest)))
    }
    await Promise.all(queue)
    signal?.throwIfAborted()
    return await whole.digest()
  } finally {
    await Promise.all([ofFile.close(), ofParts.close()])
  }
}

/** Splits the file, in order, into the parts and the gaps between them. */
function* segments<T extends Range>(
  fileSize: number,
  ranges: readonly T[],
): Generator<{ start: number; end: number; range?: T }> {
  let at = 0
  for (const range of ranges.toSorted((a, b) => a.contentOffset - b.contentOffset)) {
    const { contentOffset: start, size } = range
    yield { start: at, end: start }
    yield { start, end: start + size, range }
    at = start + size
  }
  yield { start: at, end: fileSize }
}

/** @returns how many bytes were read into the block: at least one. */
async function fill(
  { bytes }: Block,
  { fd, path }: WholeSource,
  position: number,
  most: number,
): Promise<number> {
  try {
    const { bytesRead } = await readAt(fd, bytes, 0, Math.min(BLOCK_SIZE, most), position)
    if (bytesRead > 0) return bytesRead
  } catch (error) {
    throw fileError(error, 'read', path)
  }
  throw new AirgapError('FILE', `cannot read ${path}: the file became shorter while it was read`)
}
