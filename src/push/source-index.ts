import { AirgapError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { answerOf } from '../registry/faults/answer.ts'
import { oneLine } from '../registry/faults/quote.ts'
import { type Repository, digestAt } from '../registry/repository.ts'
import { readDocument, type OpenedBundle } from '../verify/opened-bundle.ts'
import type { OnEvent } from '../content/events.ts'
import { inParallel } from '../content/parallel.ts'
import { tagFor } from './names.ts'
import type { Receipt } from './receipt.ts'
import type { PlannedImage, PlannedIndex } from './planned.ts'

interface Options {
  concurrency?: number | undefined
  signal?: AbortSignal | undefined
  onEvent?: OnEvent | undefined
  /** Called when an index is there by its digest, before it is tagged. */
  beforeTag?: ((index: PlannedIndex, signal: AbortSignal) => Promise<void>) | undefined
}

/**
 * Plans the source indexes of images of which the bundle has only some platforms, each once per repository. Asks the
 * target whether it has them.
 * @param isAbsent whether a repository cannot have anything yet; such repositories are not asked.
 */
export async function planSourceIndexes(
  images: readonly PlannedImage[],
  options: Options,
  isAbsent: (repository: Repository) => boolean,
): Promise<PlannedIndex[]> {
  const wanted = new Map<string, PlannedImage>()
  for (const planned of images) {
    if (hasSourceIndex(planned)) wanted.set(indexKey(planned.repository, planned.image.sourceDigest), planned)
  }
  return inParallel([...wanted.values()], options, async ({ image, graph, repository }, signal) => {
    const digest = image.sourceDigest
    const tag = tagFor({}, digest)
    const asked = isAbsent(repository)
      ? []
      : [await digestAt(repository, digest, signal), await digestAt(repository, tag, signal)]
    const nested = graph.evidence.filter((index) => index.digest !== digest).toReversed()
    const own = graph.evidence.filter((index) => index.digest === digest)
    return {
      repository,
      digest,
      tag,
      tagNow: asked[1],
      isPresent: asked[0] === digest,
      documents: [...nested, ...own],
    }
  })
}

/** Whether only some platforms of a source are delivered, so that nothing delivered has the source's own digest. */
export function hasSourceIndex({ image, graph }: Pick<PlannedImage, 'image' | 'graph'>): boolean {
  return graph.evidence.some(({ digest }) => digest === image.sourceDigest)
}

export function indexKey({ name }: Pick<Repository, 'name'>, digest: Digest): string {
  return `${name} ${digest}`
}

/** The outcome of a source index in the target. */
export interface IndexOutcome {
  outcome: 'uploaded' | 'present-read-back' | 'refused'
  /** The registry's answer, if it refused the index. */
  reason?: string
}

/**
 * Puts source indexes by digest, tags them, and reads each back by its tag. A refusal is passed to `onOutcome` and does not
 * stop the others.
 * @throws AirgapError for anything but a refusal.
 */
export async function putSourceIndexes(
  indexes: readonly PlannedIndex[],
  opened: OpenedBundle,
  options: Options,
  onOutcome: (index: PlannedIndex, outcome: IndexOutcome) => void,
): Promise<void> {
  await inParallel(indexes, options, async (index, signal) => {
    try {
      onOutcome(index, { outcome: await putSourceIndex(index, opened, options, signal) })
      const name = `${index.repository.name}:${index.tag}`
      options.onEvent?.({ type: 'item', name, bytes: 0, outcome: 'tagged' })
    } catch (error) {
      const reason = refusalIn(error)
      if (reason === undefined) throw error
      onOutcome(index, { outcome: 'refused', reason })
    }
  })
}

async function putSourceIndex(
  index: PlannedIndex,
  opened: OpenedBundle,
  { beforeTag }: Options,
  signal: AbortSignal,
): Promise<'uploaded' | 'present-read-back'> {
  const { repository, documents, digest, tag, isPresent } = index
  const source = documents.at(-1)
  if (source?.digest !== digest) throw new AirgapError('INTERNAL', `${digest} is not among the evidence`)
  if (!isPresent) {
    for (const node of documents)
      await repository.putManifest(node.digest, await readDocument(opened, node), signal)
  }
  await beforeTag?.(index, signal)
  const before = await repository.resolveManifest(tag, signal)
  if (before?.digest !== digest) await repository.putManifest(tag, await readDocument(opened, source), signal)
  const there = await repository.fetchManifest(tag, signal)
  if (there.digest !== digest) {
    throw new AirgapError(
      'CONTENT_MISMATCH',
      `${repository.name}:${tag} was set to ${digest}, but reads back as ${there.digest}`,
    )
  }
  return isPresent ? 'present-read-back' : 'uploaded'
}

/** The status codes with which registries refuse a document (distribution-spec § Pushing Manifests). */
const REFUSALS = new Set([400, 404, 409, 412, 415, 422])

function refusalIn(error: unknown): string | undefined {
  const answer = answerOf(error)
  if (!answer || !REFUSALS.has(answer.status)) return undefined
  const [first] = answer.errors
  const said = first === undefined ? '' : oneLine([first.code, first.message].filter(Boolean).join(': '))
  return `${answer.status}${said === '' ? '' : ` ${said}`}`
}

/** The error for a push in which the registry refused source indexes; undefined if it accepted all. */
export function refusedIndexes({ images, target }: Receipt): AirgapError | undefined {
  const refused = images.flatMap((image) =>
    image.sparseIndex?.outcome === 'refused' ? [{ image, ...image.sparseIndex }] : [],
  )
  if (refused.length === 0) return undefined
  const count = `${refused.length} ${refused.length === 1 ? 'image' : 'images'}`
  return new AirgapError(
    'INCOMPLETE',
    `${target.registry} does not accept the source index of ${count}, because other platforms are missing there; everything else is in place, and all tags are set`,
    {
      problems: refused.map(({ image, digest, reason }) => ({
        entry: `${image.target.slice(0, image.target.lastIndexOf(':'))}@${digest}`,
        message: `of ${image.source}: the registry answers ${reason ?? 'with a refusal'}`,
      })),
      hint: [
        "Workloads that pin these digests do not find them; those that use the tags do. Distribution 3 accepts such indexes with validation.manifests.indexes.platforms: none in its configuration, olareg with its setting for sparse indexes; Docker's registry 2, Harbor, zot and Gitea require every platform. Otherwise deliver all platforms, or do without the source index.",
        { id: 'no-sparse-index' },
      ],
    },
  )
}
