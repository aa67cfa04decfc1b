import type { Location } from './net/location.ts'
import { isTag } from '../oci/reference.ts'
import { discard, failure, readCapped } from './net/http.ts'

const MAX_ANSWER = 1024 * 1024
/** More are not asked for: whoever mistyped a tag has enough with the first page. */
const PAGE = 1000

/** See {@link Repository.someTags}; distribution-spec § Listing Tags. */
export async function someTags(repository: Location, signal?: AbortSignal): Promise<string[] | undefined> {
  const context = repository.context(`list the tags of ${repository.name}`)
  const answer = await repository.connection.send({
    method: 'GET',
    target: `/v2/${repository.repository}/tags/list?n=${PAGE}`,
    repository: repository.repository,
    scopes: [repository.pull],
    headers: { accept: 'application/json' },
    context,
    signal,
  })
  if (answer.status === 404) {
    discard(answer)
    return undefined
  }
  if (answer.status !== 200) throw await failure(answer, answer.auth, context)
  const bytes = await readCapped(answer, MAX_ANSWER, context, signal)
  return bytes === undefined ? [] : tagsIn(bytes)
}

/** What of the answer are tags by the grammar; nothing of it is worth an error. */
function tagsIn(bytes: Buffer): string[] {
  try {
    const { tags } = JSON.parse(bytes.toString('utf8')) as { tags?: unknown }
    if (!Array.isArray(tags)) return []
    return tags.filter((tag): tag is string => typeof tag === 'string' && isTag(tag)).slice(0, PAGE)
  } catch {
    return []
  }
}
