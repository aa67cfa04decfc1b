import { FileWriter } from '../../bundle/writer.ts'
import type { AirgapError } from '../../errors.ts'
import type { OutputFile } from '../../files/output-file.ts'
import type { Digest } from '../../oci/digest.ts'
import { downloadBlob } from '../../registry/download.ts'
import { blobProgress } from '../events.ts'
import { likeness, tellFailure, tryEach } from '../failures.ts'
import { Unreachable } from '../unreachable.ts'
import { partOf, unfinished } from './incomplete.ts'
import type { PackOptions, PackPlan } from './pack.ts'
import { FetchProgress, summaryOf, wantedBlobs, type PackSummary, type WantedBlob } from './wanted.ts'

/**
 * Takes what earlier bundles have and fetches the rest, each blob hashed as it arrives, and writes it straight to
 * its place. A blob that cannot be had does not stop the others. The file gets its name when everything is there; on
 * any failure it is removed.
 *
 * @throws AirgapError `INCOMPLETE` naming the images that lack something; the cause's own code where no blob could be had
 *   and all for one kind of cause. Faults of the output at once, as they are; the signal's reason.
 */
export async function packToFile(
  pack: PackPlan,
  output: OutputFile,
  options: PackOptions,
): Promise<PackSummary> {
  const { client, onEvent, unresolved = [] } = options
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
    const unreachable = new Unreachable()
    // Of several blobs that fail alike, one is told of; all are in the error.
    const told = new Set<string>()
    const onFailed = ({ blob }: WantedBlob, error: AirgapError): void => {
      if (told.has(likeness(error)) || unreachable.isUntried(error)) return
      told.add(likeness(error))
      const source = blob.sources.at(-1)?.name ?? 'its image'
      tellFailure(onEvent, { source, part: partOf(blob), error })
    }
    const { failed } = await tryEach(
      largestFirst,
      { ...options, onFailed },
      async ({ entry, blob }, signal) => {
        const sink = {
          restartable: true,
          write: (bytes: Uint8Array, position: number) => writer.writeContent(entry, bytes, position),
        }
        const registries = blob.sources.map(({ registry }) => registry)
        await unreachable.ask(registries, () =>
          downloadBlob(blob.sources, blob.descriptor, sink, { client, signal, ...blobProgress(onEvent) }),
        )
        progress.done(blob, 'fetched')
      },
    )
    const missing = failed.map(({ item, error }) => ({ blob: item.blob, error }))
    if (missing.length > 0 || unresolved.length > 0) {
      const { images } = pack.description
      throw unfinished(output.path, images, { failed: unresolved, missing, blobs: all.length })
    }
    await writer.finish(options.signal)
    return summaryOf(pack, ({ descriptor }) => reused.has(descriptor.digest))
  } catch (error) {
    await output.discard()
    throw error
  }
}
