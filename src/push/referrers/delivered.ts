import { AirgapError } from '../../errors.ts'
import type { Repository } from '../../registry/repository.ts'
import { readDocument, type OpenedBundle } from '../../verify/opened-bundle.ts'
import type { OnEvent } from '../../content/events.ts'
import { inParallel } from '../../content/parallel.ts'
import type { PlannedManifest } from '../plan.ts'

interface Options {
  concurrency?: number
  signal?: AbortSignal
  onEvent?: OnEvent
}

/**
 * Sees to it that attestations that are a part of images are found by what they refer to, in registries that leave that
 * to their clients. The images themselves are complete without: what a registry refuses here is told as a warning.
 * @throws AirgapError `NETWORK`, `INTERRUPTED` and the like: pushed again, this is taken up again.
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
  return `${name} holds ${what} to an image (attestations, signatures), and tools that look for such will not find ${
    count === 1 ? 'it' : 'them'
  } there: ${message}. The images are complete.`
}
