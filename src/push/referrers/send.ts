import { AirgapError } from '../../errors.ts'
import { type OpenedBundle, readDocument } from '../../verify/opened-bundle.ts'
import type { OnEvent } from '../../content/events.ts'
import { inParallel } from '../../content/parallel.ts'
import { addToCosignTag } from '../cosign-tag.ts'
import { type contentFor, putWithContent } from '../missing-content.ts'
import type { PushFailures } from '../push-failures.ts'
import type { PushRecord, ReferrerRecord } from '../record.ts'
import { documentOf } from './plan.ts'
import type { Repository } from '../../registry/repository.ts'
import type { PlannedManifest, PushPlan, PlannedReferrer } from '../planned.ts'

interface Options {
  concurrency?: number | undefined
  signal?: AbortSignal | undefined
  onEvent?: OnEvent | undefined
}

/**
 * Makes sure that attestations that are part of images are found as referrers, in registries that leave the list to
 * clients. The images are complete without this, so a refusal is only a warning.
 * @throws AirgapError `NETWORK`, `INTERRUPTED` and the like; another push repeats this.
 */
export async function ensureReferrers(
  manifests: readonly PlannedManifest[],
  opened: OpenedBundle,
  options: Options,
): Promise<void> {
  const referring = manifests.filter(({ document }) => document.subject !== undefined)
  const byRepository = Map.groupBy(referring, ({ repository }) => repository)
  await inParallel([...byRepository], options, async ([repository, planned], signal) => {
    const refused: AirgapError[] = []
    for (const { document } of planned) {
      try {
        await repository.ensureReferrer(await readDocument(opened, document), signal)
      } catch (error) {
        if (signal.aborted || !isRefusal(error)) throw error
        refused.push(error)
      }
    }
    const [first] = refused
    if (first) options.onEvent?.({ type: 'warning', message: notFound(repository, refused.length, first) })
  })
}

function isRefusal(error: unknown): error is AirgapError {
  return error instanceof AirgapError && REFUSALS.has(error.code)
}

const REFUSALS: ReadonlySet<string> = new Set([
  'REGISTRY',
  'DENIED',
  'UNAUTHORIZED',
  'NOT_FOUND',
  'INVALID_CONTENT',
  'CONTENT_MISMATCH',
])

function notFound({ name }: Repository, count: number, { message }: AirgapError): string {
  const what = count === 1 ? 'a manifest that refers' : `${count} manifests that refer`
  return `${name} has ${what} to an image (attestations, signatures), but tools that look for referrers will not find ${
    count === 1 ? 'it' : 'them'
  } there: ${message}. The images are complete.`
}

interface Options {
  concurrency?: number | undefined
  signal?: AbortSignal | undefined
  onEvent?: OnEvent | undefined
}

interface Push {
  opened: OpenedBundle
  plan: PushPlan
  options: Options
  record: PushRecord
  failures: PushFailures
  content: ReturnType<typeof contentFor>
}

/** Puts the manifests of referrers by their digests. */
export async function sendReferrers({ plan, options, record, failures, content }: Push): Promise<void> {
  await inRepositories(plan.referrers, options, async (planned, signal) => {
    const { repository, graph, present } = planned
    for (const [digest, document] of graph.closure.documents) {
      const { size } = document
      if (present.has(digest)) {
        record.set(repository, digest, size, 'present-not-read')
        continue
      }
      const isDone = await failures.attemptReferrer(planned, signal, async (own) => {
        await putWithContent({ repository, ref: digest, document }, content, own)
        record.set(repository, digest, size, 'uploaded')
      })
      if (!isDone) return
    }
  })
}

/** Reads the manifests of referrers back and hashes them. */
export async function readReferrersBack({ plan, options, record, failures }: Push): Promise<void> {
  await inRepositories(plan.referrers, options, async (planned, signal) => {
    const { repository, graph } = planned
    await failures.attemptReferrer(planned, signal, async (own) => {
      for (const digest of graph.closure.documents.keys()) {
        await repository.fetchManifest(digest, own)
        record.markRead(repository, digest)
      }
    })
  })
}

/**
 * Makes sure that tools find the referrers in the target: by the registry's own list, by the fallback tag for that list,
 * or by cosign tags.
 */
export async function ensureListed(
  all: readonly PlannedReferrer[],
  { opened, options, record, failures }: Pick<Push, 'opened' | 'options' | 'record' | 'failures'>,
): Promise<void> {
  const { onEvent } = options
  const left = new Map<string, number>()
  for (const { images } of all) {
    const source = images[0]?.image.source ?? ''
    left.set(source, (left.get(source) ?? 0) + 1)
  }
  if (all.length > 0) onEvent?.({ type: 'phase', phase: 'referrers', items: left.size, bytes: 0 })
  await inRepositories(all, options, async (planned, signal) => {
    await failures.attemptReferrer(planned, signal, async (own) => {
      record.setReferrer(planned, await makeFound(planned, opened, own))
    })
    const source = planned.images[0]?.image.source ?? ''
    const rest = (left.get(source) ?? 0) - 1
    left.set(source, rest)
    if (rest === 0) onEvent?.({ type: 'item', name: source, bytes: 0, outcome: 'listed' })
  })
}

/** @throws AirgapError also if the registry holds the content back, because then nobody knows whether the tag is right. */
async function makeFound(
  planned: PlannedReferrer,
  opened: OpenedBundle,
  signal: AbortSignal,
): Promise<ReferrerRecord> {
  const { entry, repository } = planned
  const document = await readDocument(opened, documentOf(planned))
  if (entry.tag === undefined) {
    const how = await repository.ensureReferrer(document, signal)
    return { foundBy: how === 'listed' ? 'listed' : 'tag' }
  }
  const { tag, digest } = entry
  const there = await repository.resolveManifest(tag, signal)
  if (!there) await repository.putManifest(tag, document, signal)
  // If several clients find the tag free at the same time, the last one's manifest wins: check.
  const now = (await repository.resolveManifest(tag, signal))?.digest
  if (now === digest) return { foundBy: 'tag' }
  if (document.kind === 'index') throw new AirgapError('INTERNAL', `${digest} is an index, but tagged ${tag}`)
  const merged = await addToCosignTag(repository, tag, document.layers, signal)
  return { foundBy: 'tag', ...(merged === digest ? {} : { mergedInto: merged }) }
}

/** Runs work for referrers, one after another within a repository, because they share the document that lists them. */
async function inRepositories(
  all: readonly PlannedReferrer[],
  options: Options,
  work: (planned: PlannedReferrer, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const byRepository = Map.groupBy(all, ({ repository }) => repository)
  await inParallel([...byRepository.values()], options, async (several, signal) => {
    for (const planned of several) await work(planned, signal)
  })
}
