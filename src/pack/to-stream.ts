import { createHash } from 'node:crypto'
import type { Writable } from 'node:stream'
import { StreamWriter } from '../bundle/writer.ts'
import { AirgapError } from '../errors.ts'
import { downloadBlob } from '../registry/blobs/download.ts'
import { blobProgress } from '../content/events.ts'
import type { BlobToFetch } from './contents.ts'
import { brokenOff } from './resume/incomplete.ts'
import type { FetchRun, PackPlan } from './plan.ts'
import { FetchProgress, summaryOf, wantedBlobs, type PackSummary } from './wanted.ts'

/**
 * Writes the bytes that {@link packToFile} would write, in order, to a stream. A blob with the wrong digest cannot be taken
 * back there, so the stream ends early with an error that says so.
 */
export async function packToStream(
  pack: PackPlan,
  stream: Writable,
  options: FetchRun,
): Promise<PackSummary> {
  const { signal } = options
  const writer = new StreamWriter(stream, signal)
  const progress = new FetchProgress(pack, wantedBlobs(pack), new Set(), options.onEvent)
  const reused = new Set<BlobToFetch>()
  for (const entry of pack.plan.entries) {
    signal?.throwIfAborted()
    await writer.begin(entry)
    const blob = entry.digest && pack.toFetch.get(entry.digest)
    const known = entry.signature ?? (await entry.read?.())
    if (known) {
      await writer.write(known)
    } else if (blob) {
      const isReused = await writeReused(pack, blob, writer, options)
      if (isReused) reused.add(blob)
      else await writeFetched(pack, blob, writer, options)
      progress.done(blob, isReused ? 'reused' : 'fetched')
    } else {
      throw new AirgapError('INTERNAL', `nothing is planned for ${entry.name}`)
    }
    await writer.end(entry)
  }
  await writer.finish()
  writer.release()
  return summaryOf(pack, (blob) => reused.has(blob))
}

async function writeFetched(
  pack: PackPlan,
  blob: BlobToFetch,
  writer: StreamWriter,
  { client, signal, onEvent }: FetchRun,
): Promise<void> {
  const { sources, descriptor } = blob
  // A copy, because the stream may use the bytes after the write has returned.
  const sink = { restartable: false, write: (bytes: Uint8Array) => writer.write(Buffer.from(bytes)) }
  try {
    await downloadBlob(sources, descriptor, sink, {
      client,
      ...(signal ? { signal } : {}),
      ...blobProgress(onEvent),
    })
  } catch (error) {
    throw brokenOff(error, blob, pack.description.images)
  }
}

/** Nothing in a stream can be taken back, so the earlier bundle's blob is hashed before its first byte is written. */
async function writeReused(
  pack: PackPlan,
  { descriptor }: BlobToFetch,
  writer: StreamWriter,
  { onEvent, signal }: FetchRun,
): Promise<boolean> {
  const content = await pack.reuse?.locate(descriptor, signal)
  if (!content) return false
  const hash = createHash('sha256')
  for await (const chunk of content) {
    hash.update(chunk)
    await writer.write(chunk)
    onEvent?.({ type: 'progress', bytes: chunk.length })
  }
  if (`sha256:${hash.digest('hex')}` === descriptor.digest) return true
  throw new AirgapError('FILE', `the blob ${descriptor.digest} changed in its bundle while it was read`, {
    hint: 'What was written to standard output is not a whole bundle. Do not change bundles while they are reused.',
  })
}
