import type { OutputFile } from '../../files/output-file.ts'
import { BLOCK_SIZE } from '../../hashing/stream-threads.ts'
import { hashRanges } from '../../hashing/range-threads.ts'
import { shortHex, type Digest } from '../../oci/digest.ts'
import type { Begun } from '../../registry/blobs/download.ts'
import { inParallel } from '../../content/parallel.ts'
import type { Journal } from './journal.ts'
import type { FetchRun, PackPlan } from '../plan.ts'
import { wantedBlobs, type TakenUp, type WantedBlob } from '../wanted.ts'
import type { Beginning, FindBeginning } from './unfinished.ts'

/**
 * Finds out which blobs, and which beginnings of blobs, an unfinished file has. The journal says where to look, and what is
 * there is hashed before it counts, whole blobs on all cores. Beginnings that only a file that was set aside has are copied
 * while they are hashed.
 *
 * @returns also the open hashes of beginnings, which end with the client.
 * @throws AirgapError `FILE`; the signal's reason.
 */
export async function takeUp(
  pack: PackPlan,
  { output, journal, findBeginning }: PackTarget,
  options: FetchRun,
): Promise<TakenUp> {
  const { onEvent, signal } = options
  const { whole, beginnings } = whatIsThere(pack, output, journal, findBeginning)
  const bytes =
    sumOf(whole.map(({ entry }) => entry.size)) + sumOf(beginnings.map(({ position }) => position))
  if (bytes === 0) return { finished: new Set(), begun: new Map() }
  onEvent?.({ type: 'phase', phase: 'resume', items: whole.length + beginnings.length, bytes })
  const progress = (count: number): void => onEvent?.({ type: 'progress', bytes: count })
  const done = ({ blob }: WantedBlob, file: OutputFile, size: number): void => {
    const { digest } = blob.descriptor
    const name = `${shortHex(digest)} from ${file.partial}`
    onEvent?.({ type: 'item', name, bytes: size, outcome: 'resumed', digest })
  }

  const finished = new Set<Digest>()
  const damaged: number[] = []
  await hashRanges(
    { path: output.partial, fd: output.fd, stream: (range) => output.stream(range) },
    whole.map((wanted) => ({ contentOffset: wanted.entry.contentOffset, size: wanted.entry.size, wanted })),
    ({ wanted }, actual) => {
      const { entry, blob } = wanted
      const { digest } = blob.descriptor
      if (actual === digest) {
        finished.add(actual)
        done(wanted, output, entry.size)
        return
      }
      damaged.push(entry.size)
      const position = journal.held.fallbackOf(digest)
      journal.settled(digest, position)
      if (position > 0) beginnings.push({ wanted, position, file: output, offset: entry.contentOffset })
    },
    { ...(signal ? { signal } : {}), onProgress: progress },
  )

  if (damaged.length > 0) {
    const blobs = damaged.length === 1 ? '1 blob' : `${damaged.length} blobs`
    const message = `${output.partial} is damaged: ${blobs} (${sumOf(damaged)} bytes) must be fetched again. If this happens again, check the disk.`
    onEvent?.({ type: 'warning', message })
  }

  const begun = new Map<Digest, Begun>()
  await inParallel(beginnings, options, async (beginning, either) => {
    const { wanted, position, file } = beginning
    const { digest } = wanted.blob.descriptor
    begun.set(digest, await hashBeginning(beginning, output, { ...options, signal: either, progress }))
    journal.settled(digest, position)
    done(wanted, file, position)
  })
  return { finished, begun }
}

/** What to hash. Not the beginnings of blobs that an earlier bundle has whole, unless those were already copied. */
function whatIsThere(
  pack: PackPlan,
  output: OutputFile,
  { held }: Journal,
  findBeginning: FindBeginning | undefined,
): { whole: WantedBlob[]; beginnings: Beginning[] } {
  const whole: WantedBlob[] = []
  const beginnings: Beginning[] = []
  for (const wanted of wantedBlobs(pack)) {
    const { entry, blob } = wanted
    const { digest } = blob.descriptor
    const position = held.bytesOf(digest)
    if (position > 0 && position >= entry.size) whole.push(wanted)
    else if (!held.isCopied && pack.reuse?.has(blob.descriptor)) continue
    else if (position > 0) beginnings.push({ wanted, position, file: output, offset: entry.contentOffset })
    else {
      const there = held.isCopied ? undefined : findBeginning?.(digest)
      if (there && there.position > 0 && there.position < entry.size) beginnings.push({ wanted, ...there })
    }
  }
  return { whole, beginnings }
}

async function hashBeginning(
  { wanted: { entry }, position, file, offset }: Beginning,
  output: OutputFile,
  { client, signal, progress }: FetchRun & { progress: (bytes: number) => void },
): Promise<Begun> {
  const { blocks, threads } = client.shared
  const hash = threads.open(entry.size)
  const block = blocks.take()
  try {
    for (let done = 0; done < position;) {
      signal?.throwIfAborted()
      const length = Math.min(BLOCK_SIZE, position - done)
      await file.read(block.bytes, length, offset + done)
      if (file !== output) await output.write(block.bytes.subarray(0, length), entry.contentOffset + done)
      await hash.update(block, length)
      done += length
      progress(length)
    }
    return { position, hash }
  } catch (error) {
    hash.drop()
    throw error
  } finally {
    blocks.give(block)
  }
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0)
}

/** Where a bundle is written. If the run fails, the caller keeps or removes the two files. */
export interface PackTarget {
  output: OutputFile
  /** Knows what the output already has, and records what is written there. */
  journal: Journal
  findBeginning?: FindBeginning | undefined
}
