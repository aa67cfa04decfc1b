import { isChosen, rooted, type ReferrerEntry } from '../../bundle/referrers.ts'
import type { ReferrerChoice } from '../../oci/manifest.ts'
import { AirgapError } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import { type Repository, digestAt } from '../../registry/repository.ts'
import { readDocument, type OpenedBundle } from '../../verify/opened-bundle.ts'
import { isHeldBack } from '../../content/failures.ts'
import type { DocumentNode } from '../../content/graph.ts'
import { inParallel } from '../../content/parallel.ts'
import { whatIsLacking } from '../cosign-tag.ts'
import { hasSourceIndex } from '../source-index.ts'
import type { PlannedImage, PlannedReferrer, ReferrerFate } from '../planned.ts'

interface Options {
  referrers?: ReferrerChoice | undefined
  sparseIndex?: boolean | undefined
  concurrency?: number | undefined
  signal?: AbortSignal | undefined
}

/** What happens to the referrers of an image. A subject comes before its referrers. */
export function fatesOf(
  { image, graph }: Pick<PlannedImage, 'image' | 'graph'>,
  { referrers: choice = 'all', sparseIndex = false }: Options,
): ReferrerFate[] {
  const graphs = new Map(graph.referrers.map((one) => [one.entry, one]))
  const chosen = [...graphs.keys()].filter((entry) => isChosen(entry, choice))
  const fates = new Map<ReferrerEntry, ReferrerFate['fate']>()
  for (const entry of rooted(chosen, graph.closure.documents.keys())) fates.set(entry, 'image')
  const rest = chosen.filter((entry) => !fates.has(entry))
  const hasIndex = sparseIndex && hasSourceIndex({ image, graph })
  for (const entry of hasIndex ? rooted(rest, [image.sourceDigest]) : []) fates.set(entry, 'source-index')
  for (const entry of rest) if (!fates.has(entry)) fates.set(entry, 'not-delivered')
  for (const entry of graphs.keys()) if (!fates.has(entry)) fates.set(entry, 'left-out')
  return [...fates].flatMap(([entry, fate]) => {
    const found = graphs.get(entry)
    return found ? [{ graph: found, fate }] : []
  })
}

/** The key of a referrer in a repository, independent of the images that it belongs to. */
export function referrerKey(
  { name }: Pick<Repository, 'name'>,
  { subject, tag, digest }: ReferrerEntry,
): string {
  return `${name} ${subject} ${tag ?? ''} ${digest}`
}

/**
 * Plans the referrers to push, each once per repository. Asks the target whether it has them.
 * @param isAbsent whether a repository cannot have anything yet; such repositories are not asked.
 */
export async function planReferrers(
  images: readonly PlannedImage[],
  opened: OpenedBundle,
  options: Options,
  isAbsent: (repository: Repository) => boolean,
): Promise<PlannedReferrer[]> {
  const wanted = new Map<string, Omit<PlannedReferrer, 'present' | 'tag'>>()
  for (const planned of images) {
    for (const { graph, fate } of planned.fates) {
      if (fate !== 'image' && fate !== 'source-index') continue
      const { repository } = planned
      const key = referrerKey(repository, graph.entry)
      const known = wanted.get(key)
      if (known) known.images.push(planned)
      else wanted.set(key, { entry: graph.entry, repository, images: [planned], waitsFor: fate, graph })
      if (known && fate === 'image') known.waitsFor = fate
    }
  }
  return inParallel([...wanted.values()], options, async (one, signal) => {
    const { repository, graph } = one
    if (isAbsent(repository)) return { ...one, present: new Set(), tag: 'free' }
    const present = new Set<Digest>()
    for (const digest of graph.closure.documents.keys()) {
      if ((await digestAt(repository, digest, signal)) === digest) present.add(digest)
    }
    return { ...one, present, tag: await stateOfTag(one, opened, signal) }
  })
}

async function stateOfTag(
  one: Pick<PlannedReferrer, 'repository' | 'graph' | 'entry'>,
  opened: OpenedBundle,
  signal: AbortSignal,
): Promise<PlannedReferrer['tag']> {
  const { repository, entry } = one
  if (entry.tag === undefined) return 'free'
  const document = await readDocument(opened, documentOf(one))
  try {
    const now = await repository.resolveAttached(entry.tag, entry.subject, signal)
    if (!now) return 'free'
    if (now.digest === entry.digest) return 'there'
    const there = now.document ?? (await repository.fetchManifest(now.digest, signal))
    const layers = document.kind === 'manifest' ? document.layers : []
    const { lacking, fault } = whatIsLacking(there, entry.tag, layers)
    if (fault !== undefined) return 'taken'
    return lacking.length === 0 ? 'there' : 'to-merge'
  } catch (error) {
    if (error instanceof AirgapError && error.code === 'INVALID_CONTENT') return 'taken'
    if (isHeldBack(error)) return 'held-back'
    throw error
  }
}

/** The referrer's own manifest or index. */
export function documentOf({ entry, graph }: Pick<PlannedReferrer, 'entry' | 'graph'>): DocumentNode {
  const document = graph.closure.documents.get(entry.digest)
  if (!document) throw new AirgapError('INTERNAL', `${entry.digest} has no manifest`)
  return document
}
