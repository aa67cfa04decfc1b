import { createHash } from 'node:crypto'
import type { Writable } from 'node:stream'
import type { BundleDescription } from '../../bundle/description.ts'
import { planBundle, type BundlePlan, type BundleSignature, type PlannedEntry } from '../../bundle/plan.ts'
import { FileWriter, StreamWriter } from '../../bundle/writer.ts'
import { AirgapError } from '../../errors.ts'
import type { OutputFile } from '../../files/output-file.ts'
import { shortHex, type Digest } from '../../oci/digest.ts'
import type { RegistryClient } from '../../registry/client.ts'
import { downloadBlob } from '../../registry/download.ts'
import type { SigningKey } from '../../trust/keys.ts'
import { signBytes } from '../../trust/signature.ts'
import { gatherContents, type BlobToFetch, type BundleContents, type ContentsOptions } from './contents.ts'
import { blobProgress, type OnEvent } from '../events.ts'
import { inParallel } from '../parallel.ts'
import type { ReusableBlobs } from './reuse.ts'

/** The whole work before its first large byte: what will be written where, and what has to be fetched for it. */
export interface PackPlan {
  plan: BundlePlan
  description: BundleDescription
  toFetch: Map<Digest, BlobToFetch>
  /** What earlier bundles may have of it; none of their bytes has been looked at yet. */
  reuse: ReusableBlobs | undefined
  isSigned: boolean
}

/**
 * Works out the bundle of a lock: contents, signature, offsets. The signature is made here, because its size
 * decides offsets; it is written last.
 *
 * @param key signs `SHA256SUMS`; undefined leaves the bundle unsigned.
 */
export async function planPack(
  options: ContentsOptions & { key?: SigningKey | undefined; reuse?: ReusableBlobs | undefined },
): Promise<PackPlan> {
  const contents = await gatherContents(options)
  const signature = options.key && signContents(contents, options.key)
  const plan = planBundle(contents.files, contents.blobs, contents.checksums, signature)
  return {
    plan,
    description: contents.description,
    toFetch: contents.toFetch,
    reuse: options.reuse,
    isSigned: signature !== undefined,
  }
}

function signContents({ checksums }: BundleContents, key: SigningKey): BundleSignature {
  const { bundleJson, der } = signBytes(checksums, key)
  return { sigstore: bundleJson, raw: der }
}

export interface PackOptions {
  client: RegistryClient
  /** Blobs fetched at a time. */
  concurrency?: number
  signal?: AbortSignal
  onEvent?: OnEvent
}

/** Where the layers and configs of a finished bundle came from. */
export interface PackSummary {
  fetched: Amount
  reused: Amount
}

export interface Amount {
  blobs: number
  bytes: number
}

/** What a pack would fetch and reuse, if every blob of the earlier bundles is as it should be. */
export function expectedSummary({ toFetch, reuse }: PackPlan): PackSummary {
  const sizes = [...toFetch.values()].map(({ descriptor }) => descriptor)
  return {
    fetched: amountOf(sizes.filter((blob) => !reuse?.has(blob))),
    reused: amountOf(sizes.filter((blob) => reuse?.has(blob))),
  }
}

/**
 * Takes what earlier bundles have and fetches the rest, each blob hashed as it arrives, and writes it straight to
 * its place. The file gets its name when everything is there; on any failure it is removed.
 */
export async function packToFile(
  pack: PackPlan,
  output: OutputFile,
  options: PackOptions,
): Promise<PackSummary> {
  const { onEvent } = options
  const writer = new FileWriter(output, pack.plan)
  try {
    await writer.begin()
    const all = entriesToFetch(pack)
    const reused = await pack.reuse?.copy(
      all.map(({ entry }) => entry),
      output,
      options,
    )
    const rest = all.filter(({ blob }) => !reused?.has(blob.descriptor.digest))
    announce(rest, onEvent)
    // Largest first, so that no long transfer is left alone at the end.
    const entries = rest.toSorted((a, b) => b.entry.size - a.entry.size)
    await inParallel(entries, options, async ({ entry, blob }, signal) => {
      const sink = {
        restartable: true,
        write: (chunks: readonly Uint8Array[], position: number) =>
          writer.writeContent(entry, chunks, position),
      }
      await downloadBlob(blob.sources, blob.descriptor, sink, {
        client: options.client,
        signal,
        ...blobProgress(onEvent),
      })
      onEvent?.({ type: 'item', name: nameOfBlob(blob), bytes: entry.size, outcome: 'fetched' })
    })
    await writer.finish()
    return summaryOf(all, rest)
  } catch (error) {
    await output.discard()
    throw error
  }
}

/**
 * Writes the same bytes in order, to a pipe. A blob with the wrong digest cannot be taken back there: the
 * stream ends early, and the error says so.
 */
export async function packToStream(
  pack: PackPlan,
  stream: Writable,
  options: PackOptions,
): Promise<PackSummary> {
  const { onEvent, client, signal } = options
  const writer = new StreamWriter(stream, signal)
  const all = entriesToFetch(pack)
  const fetched: WantedBlob[] = []
  announce(all, onEvent)
  for (const entry of pack.plan.entries) {
    signal?.throwIfAborted()
    await writer.begin(entry)
    const blob = entry.digest && pack.toFetch.get(entry.digest)
    if (entry.bytes) {
      await writer.write(entry.bytes)
    } else if (blob && (await writeReused(pack, blob, writer, options))) {
      onEvent?.({ type: 'item', name: nameOfBlob(blob), bytes: entry.size, outcome: 'reused' })
    } else if (blob) {
      fetched.push({ entry, blob })
      const sink = { restartable: false, write: (chunks: readonly Uint8Array[]) => writer.writeAll(chunks) }
      await downloadBlob(blob.sources, blob.descriptor, sink, {
        client,
        ...(signal ? { signal } : {}),
        ...blobProgress(onEvent),
      })
      onEvent?.({ type: 'item', name: nameOfBlob(blob), bytes: entry.size, outcome: 'fetched' })
    } else {
      throw new AirgapError('INTERNAL', `nothing is planned for ${entry.name}`)
    }
    await writer.end(entry)
  }
  await writer.finish()
  return summaryOf(all, fetched)
}

/** A pipe cannot be gone back on: the earlier bundle's blob is hashed before its first byte is written. */
async function writeReused(
  pack: PackPlan,
  { descriptor }: BlobToFetch,
  writer: StreamWriter,
  { onEvent, signal }: PackOptions,
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
  throw new AirgapError('FILE', `the blob ${descriptor.digest} was changed in its bundle while it was read`, {
    hint: 'What was written to standard output is not a whole bundle. Leave the bundles that are reused alone.',
  })
}

interface WantedBlob {
  entry: PlannedEntry
  blob: BlobToFetch
}

function announce(blobs: readonly WantedBlob[], onEvent: OnEvent | undefined): void {
  const bytes = blobs.reduce((sum, { entry }) => sum + entry.size, 0)
  onEvent?.({ type: 'phase', phase: 'fetch', items: blobs.length, bytes })
}

function summaryOf(all: readonly WantedBlob[], fetched: readonly WantedBlob[]): PackSummary {
  const isFetched = new Set(fetched.map(({ blob }) => blob))
  return {
    fetched: amountOf(fetched.map(({ entry }) => entry)),
    reused: amountOf(all.filter(({ blob }) => !isFetched.has(blob)).map(({ entry }) => entry)),
  }
}

function amountOf(blobs: readonly { size: number }[]): Amount {
  return { blobs: blobs.length, bytes: blobs.reduce((sum, { size }) => sum + size, 0) }
}

function entriesToFetch(pack: PackPlan): WantedBlob[] {
  return pack.plan.entries.flatMap((entry) => {
    const blob = entry.digest && pack.toFetch.get(entry.digest)
    return blob ? [{ entry, blob }] : []
  })
}

function nameOfBlob({ descriptor, sources }: BlobToFetch): string {
  return `${shortHex(descriptor.digest)} of ${sources.at(-1)?.name ?? 'its image'}`
}
