import { read } from 'node:fs'
import { promisify } from 'node:util'
import { AirgapError, fileError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { type Block, BLOCK_SIZE, BlockPool, HashThreads, LocalHash } from './stream-threads.ts'
import { type Range, WORTH_THREADS } from './range-threads.ts'

/** An open file that is read from its first byte to its last. */
export interface WholeSource {
  readonly path: string
  readonly fd: number
  /** Bytes. */
  readonly fileSize: number
}

export interface HashWholeOptions {
  /** Is told of all bytes of the file. */
  onProgress?: (bytes: number) => void
  signal?: AbortSignal | undefined
}

/** Blocks that are read ahead of the hashing. */
const AHEAD = 8

const readAt = promisify(read)

/**
 * Hashes a file and parts of it in one pass: each byte is read once, and the very bytes that a part's digest is of are
 * in the file's. The order of the file leaves no more than two cores to be used; {@link hashRanges} uses all, and gives
 * no digest of the whole.
 *
 * @param ranges that do not overlap.
 * @param onRange is told of each part when its digest is known.
 * @returns the digest of the whole file.
 * @throws AirgapError `FILE` when the disk fails or the file becomes shorter; the signal's reason.
 */
export async function hashWhole<T extends Range>(
  source: WholeSource,
  ranges: readonly T[],
  onRange: (range: T, digest: Digest) => void,
  { onProgress, signal }: HashWholeOptions = {},
): Promise<Digest> {
  const isLarge = source.fileSize >= WORTH_THREADS
  // One each: a part must not wait for the thread that the whole file keeps busy.
  const [ofFile, ofParts] = [new HashThreads(1), new HashThreads(1)]
  const pool = new BlockPool()
  const queue: Promise<void>[] = []
  const enqueue = async (work: Promise<void>): Promise<void> => {
    // What fails is told when its turn comes, and by nobody where something else has failed before.
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

/** The file in its order, as the parts and what is between them. */
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

/** @returns how many bytes there are in the block now: one at least. */
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
