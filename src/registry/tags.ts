import { AirgapError } from '../errors.ts'
import { isTag } from '../oci/reference.ts'
import type { Location } from './net/location.ts'
import { discard, failure, readCapped } from './net/http.ts'
import { nextPage } from './referrers.ts'
import type { Context } from './notices.ts'
import type { Answer } from './net/connection.ts'
import { listsOnlyPulledTags } from './vendors/pull-through.ts'

/** Bytes of one page. */
const MAX_ANSWER = 1024 * 1024
/** Tags on a page. Docker Hub gives 100 at most, others what they are asked for. */
const PAGE = 1000
/** A longer list costs more than asking for the few tags that are wanted. */
const MAX_PAGES = 4

/** See {@link Repository.someTags}; distribution-spec § Listing Tags. */
export async function someTags(repository: Location, signal?: AbortSignal): Promise<string[] | undefined> {
  const context = repository.context(`list the tags of ${repository.name}`)
  const answer = await askFor(repository, repository.tagsPath(PAGE), context, signal)
  if (answer.status === 404) {
    discard(answer)
    return undefined
  }
  if (answer.status !== 200) throw await failure(answer, answer.auth, context)
  const bytes = await readCapped(answer, MAX_ANSWER, context, signal)
  return tagsIn(bytes ?? Buffer.alloc(0)) ?? []
}

/** See {@link Source.allTags}; distribution-spec § Listing Tags. */
export async function allTags(
  repository: Location,
  signal?: AbortSignal,
): Promise<ReadonlySet<string> | undefined> {
  if (listsOnlyPulledTags(repository.registry)) return undefined
  const context = repository.context(`list the tags of ${repository.name}`)
  const all = new Set<string>()
  let target: string | URL | undefined = repository.tagsPath(PAGE)
  try {
    for (let page = 1; target !== undefined; page += 1) {
      const asked: string | URL = target
      const answer = await repository.connection.retrying(context, signal, () =>
        askFor(repository, asked, context, signal),
      )
      if (answer.status !== 200 || answer.url.origin !== answer.requested.origin) {
        discard(answer)
        return undefined
      }
      const bytes = await readCapped(answer, MAX_ANSWER, context, signal)
      const tags = bytes && tagsIn(bytes)
      if (tags === undefined) return undefined
      for (const tag of tags) all.add(tag)
      target = nextPage(answer, context)
      if (target !== undefined && page === MAX_PAGES) return undefined
    }
    return all
  } catch (error) {
    // Whoever asks for a tag by itself gets the error that matters.
    if (!(error instanceof AirgapError) || error.code === 'INTERRUPTED') throw error
    return undefined
  }
}

function askFor(
  repository: Location,
  target: string | URL,
  context: Context,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  return repository.connection.send({
    method: 'GET',
    target,
    repository: repository.repository,
    scopes: [repository.pull],
    headers: { accept: 'application/json' },
    context,
    signal,
  })
}

/** The valid tags of an answer; undefined if it is not a list of tags. A repository without tags may say `null`. */
function tagsIn(bytes: Buffer): string[] | undefined {
  try {
    const { tags } = JSON.parse(bytes.toString('utf8')) as { tags?: unknown }
    if (tags === null) return []
    if (!Array.isArray(tags)) return undefined
    return tags.filter((tag): tag is string => typeof tag === 'string' && isTag(tag))
  } catch {
    return undefined
  }
}
