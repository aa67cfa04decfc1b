import { AirgapError } from '../errors.ts'
import { editDistance } from '../nearest.ts'
import type { Reference } from '../oci/reference.ts'
import { NO_SUCH_REPOSITORY, NO_SUCH_TAG } from '../registry/faults/words.ts'
import type { Repository } from '../registry/repository.ts'

const MOST_NAMED = 5
/** Nobody waits for a better message longer than this. Milliseconds. */
const PATIENCE_MS = 5000

/**
 * Explains a tag that a registry does not have: which ones near to it there are, or that there is no such repository,
 * which many registries do not tell when they are asked for a tag. Costs one request.
 *
 * @param source where the tag was looked for; undefined where nobody was to be asked.
 * @returns `error` itself where it is another one, or where nothing more is found out.
 */
export async function explainMissingTag(
  error: unknown,
  { tag, digest }: Pick<Reference, 'tag' | 'digest'>,
  source: Repository | undefined,
  signal?: AbortSignal,
): Promise<unknown> {
  const isMissing = error instanceof AirgapError && error.code === 'NOT_FOUND'
  if (
    !isMissing ||
    !source ||
    tag === undefined ||
    digest !== undefined ||
    !error.message.includes(`${NO_SUCH_TAG}:`)
  )
    return error
  const patience = AbortSignal.timeout(PATIENCE_MS)
  let found: string
  try {
    const tags = await source.someTags(signal === undefined ? patience : AbortSignal.any([signal, patience]))
    if (tags === undefined) found = NO_SUCH_REPOSITORY
    else if (tags.length === 0) return error
    else if (tags.includes(tag)) found = 'the registry lists this tag and does not have what it leads to'
    else found = `the registry has no such tag, ${namedTags(tag, tags)}`
  } catch {
    // The tag is missing either way, and that is what the user has to hear of.
    return error
  }
  const { code, message, hint, problems } = error
  // Behind the first colons stands what the registry says, which may hold the same words.
  return new AirgapError(
    code,
    message.replace(`${NO_SUCH_TAG}:`, () => `${found}:`),
    {
      hint,
      problems,
      cause: error,
    },
  )
}

function namedTags(wanted: string, tags: readonly string[]): string {
  const near = nearTags(wanted, tags)
  if (near.length > 0) return `but it has ${near.join(', ')}`
  return tags.length <= MOST_NAMED ? `only ${tags.join(', ')}` : `nor one near to it among ${tags.length}`
}

/** Those that differ by little, nearest first; among equals in the order of versions. */
export function nearTags(wanted: string, tags: readonly string[]): string[] {
  const most = Math.max(2, Math.floor(wanted.length / 4))
  return tags
    .filter((tag) => Math.abs(tag.length - wanted.length) <= most)
    .map((tag) => ({ tag, distance: editDistance(wanted, tag) }))
    .filter(({ distance }) => distance <= most)
    .toSorted((a, b) => a.distance - b.distance || a.tag.localeCompare(b.tag, 'en', { numeric: true }))
    .slice(0, MOST_NAMED)
    .map(({ tag }) => tag)
}
