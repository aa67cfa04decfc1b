import { FileWriter } from '../../bundle/writer.ts'
import type { OutputFile } from '../../files/output-file.ts'
import type { Digest } from '../../oci/digest.ts'
import { downloadBlob } from '../../registry/download.ts'
import { blobProgress } from '../events.ts'
import { inParallel } from '../parallel.ts'
import type { PackOptions, PackPlan } from './pack.ts'
import { FetchProgress, summaryOf, wantedBlobs, type PackSummary } from './wanted.ts'

/**
 * Takes what earlier bundles have and fetches the rest, each blob hashed as it arrives, and writes it straight to
 * its place. The file gets its name when everything is there; on any failure it is removed.
 */
export async function packToFile(
  pack: PackPlan,
  output: OutputFile,
  options: PackOptions,
): Promise<PackSummary> {
  const { client, onEvent } = options
  const writer = new FileWriter(output, pack.plan)
  try {
    await writer.begin()
    const all = wantedBlobs(pack)
    const entries = all.map(({ entry }) => entry)
    const reused: ReadonlySet<Digest> = (await pack.reuse?.copy(entries, output, options)) ?? new Set()
    const rest = all.filter(({ blob }) => !reused.has(blob.descriptor.digest))
    const progress = new FetchProgress(pack, rest, reused, onEvent)
    // Largest first, so that no long transfer is left alone at the end.
    const largestFirst = rest.toSorted((a, b) => b.entry.size - a.entry.size)
    await inParallel(largestFirst, options, async ({ entry, blob }, signal) => {
      const sink = {
        restartable: true,
        write: (bytes: Uint8Array, position: number) => writer.writeContent(entry, bytes, position),
      }
      await downloadBlob(blob.sources, blob.descriptor, sink, { client, signal, ...blobProgress(onEvent) })
      progress.done(blob, 'fetched')
    })
    await writer.finish(options.signal)
    return summaryOf(pack, ({ descriptor }) => reused.has(descriptor.digest))
  } catch (error) {
    await output.discard()
    throw error
  }
}
