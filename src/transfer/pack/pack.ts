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
import { ImageProgress } from '../image-progress.ts'
import { inParallel } from '../parallel.ts'

/** The whole work before its first large byte: what will be written where, and what has to be fetched for it. */
export interface PackPlan {
  plan: BundlePlan
  description: BundleDescription
  toFetch: Map<Digest, BlobToFetch>
  /** Bytes that will come over the network for layers and configs. */
  fetchBytes: number
  isSigned: boolean
}

/**
 * Works out the bundle of a lock: contents, signature, offsets. The signature is made here, because its size
 * decides offsets; it is written last.
 *
 * @param key signs `SHA256SUMS`; undefined leaves the bundle unsigned.
 */
export async function planPack(
  options: ContentsOptions & { key?: SigningKey | undefined },
): Promise<PackPlan> {
  const contents = await gatherContents(options)
  const signature = options.key && signContents(contents, options.key)
  const plan = planBundle(contents.files, contents.blobs, contents.checksums, signature)
  let fetchBytes = 0
  for (const { descriptor } of contents.toFetch.values()) fetchBytes += descriptor.size
  return {
    plan,
    description: contents.description,
    toFetch: contents.toFetch,
    fetchBytes,
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

/**
 * Fetches what a plan needs, each blob hashed as it arrives, and writes it straight to its place. The file gets
 * its name when everything is there; on any failure it is removed.
 */
export async function packToFile(pack: PackPlan, output: OutputFile, options: PackOptions): Promise<void> {
  const { onEvent } = options
  const writer = new FileWriter(output, pack.plan)
  try {
    await writer.begin()
    const images = announce(pack, onEvent)
    // Largest first, so that no long transfer is left alone at the end.
    const entries = entriesToFetch(pack).toSorted((a, b) => b.entry.size - a.entry.size)
    await inParallel(entries, options, async ({ entry, blob }, signal) => {
      const sink = {
        restartable: true,
        write: (chunk: Uint8Array, position: number) => writer.writeContent(entry, chunk, position),
      }
      await downloadBlob(blob.sources, blob.descriptor, sink, {
        client: options.client,
        signal,
        ...blobProgress(onEvent),
      })
      tellFetched(blob, images, onEvent)
    })
    await writer.finish()
  } catch (error) {
    await output.discard()
    throw error
  }
}

/**
 * Writes the same bytes in order, to a pipe. A blob with the wrong digest cannot be taken back there: the
 * stream ends early, and the error says so.
 */
export async function packToStream(pack: PackPlan, stream: Writable, options: PackOptions): Promise<void> {
  const { onEvent, client, signal } = options
  const writer = new StreamWriter(stream, signal)
  const images = announce(pack, onEvent)
  for (const entry of pack.plan.entries) {
    signal?.throwIfAborted()
    await writer.begin(entry)
    const blob = entry.digest && pack.toFetch.get(entry.digest)
    if (entry.bytes) {
      await writer.write(entry.bytes)
    } else if (blob) {
      const sink = { restartable: false, write: (chunk: Uint8Array) => writer.write(chunk) }
      await downloadBlob(blob.sources, blob.descriptor, sink, {
        client,
        ...(signal ? { signal } : {}),
        ...blobProgress(onEvent),
      })
      tellFetched(blob, images, onEvent)
    } else {
      throw new AirgapError('INTERNAL', `nothing is planned for ${entry.name}`)
    }
    await writer.end(entry)
  }
  await writer.finish()
}

function announce(
  { description, toFetch, fetchBytes }: PackPlan,
  onEvent: OnEvent | undefined,
): ImageProgress {
  const parts = new Map<string, Digest[]>(description.images.map(({ source }) => [source, []]))
  for (const [digest, { images }] of toFetch) for (const { source } of images) parts.get(source)?.push(digest)
  const images = new ImageProgress(
    description.images.map(({ source, size }) => ({
      name: source,
      bytes: size,
      parts: parts.get(source) ?? [],
    })),
    onEvent,
  )
  onEvent?.({
    type: 'phase',
    phase: 'fetch',
    items: toFetch.size,
    bytes: fetchBytes,
    images: images.count,
  })
  images.begin()
  return images
}

function tellFetched(blob: BlobToFetch, images: ImageProgress, onEvent: OnEvent | undefined): void {
  const { digest, size } = blob.descriptor
  onEvent?.({ type: 'item', name: nameOfBlob(blob), bytes: size, outcome: 'fetched', digest })
  images.done(digest, 'fetched')
}

function entriesToFetch(pack: PackPlan): { entry: PlannedEntry; blob: BlobToFetch }[] {
  return pack.plan.entries.flatMap((entry) => {
    const blob = entry.digest && pack.toFetch.get(entry.digest)
    return blob ? [{ entry, blob }] : []
  })
}

function nameOfBlob({ descriptor, sources }: BlobToFetch): string {
  return `${shortHex(descriptor.digest)} of ${sources.at(-1)?.name ?? 'its image'}`
}
