import type { Digest } from '../../oci/digest.ts'
import { OCI_INDEX } from '../../oci/media-types.ts'
import { fault, json, type Reply } from './reply.ts'
import type { RegistryRequest } from './request.ts'
import type { ContentStore } from './store.ts'

const DEFAULT_PAGE = 1000
const MAX_PAGE = 10_000

/** `GET /v2/<name>/tags/list` (distribution-spec § Listing Tags). */
export async function listTags(
  request: RegistryRequest,
  repository: string,
  store: ContentStore,
): Promise<Reply> {
  const tags = await store.tags(repository)
  if (!tags) return fault(404, 'NAME_UNKNOWN', `there is no repository ${repository}`)
  return page(request, tags, (part) => ({ name: repository, tags: part }))
}

/** `GET /v2/_catalog`, which is docker-registry's, not the specification's. */
export async function listRepositories(request: RegistryRequest, store: ContentStore): Promise<Reply> {
  return page(request, await store.repositories(), (part) => ({ repositories: part }))
}

function page(request: RegistryRequest, sorted: string[], shape: (part: string[]) => object): Reply {
  const wanted = request.query.get('n')
  if (wanted !== null && !/^\d{1,9}$/.test(wanted)) {
    return fault(400, 'PAGINATION_NUMBER_INVALID', 'n is a whole number')
  }
  const count = Math.min(wanted === null ? DEFAULT_PAGE : Number(wanted), MAX_PAGE)
  const last = request.query.get('last') ?? ''
  const rest = sorted.filter((item) => item > last)
  const part = rest.slice(0, count)
  const end = part.at(-1)
  if (end === undefined || part.length === rest.length) return json(shape(part))
  const next = new URLSearchParams({ n: String(count), last: end }).toString()
  return json(shape(part), { Link: `<${request.path}?${next}>; rel="next"` })
}

/** `GET /v2/<name>/referrers/<digest>` (distribution-spec § Listing Referrers): always an index, maybe empty. */
export async function listReferrers(
  request: RegistryRequest,
  route: { repository: string; digest: Digest },
  store: ContentStore,
): Promise<Reply> {
  const all = await store.referrers(route.repository, route.digest)
  const filter = request.query.get('artifactType')
  const manifests = filter === null ? all : all.filter((item) => item.artifactType === filter)
  return json(
    { schemaVersion: 2, mediaType: OCI_INDEX, manifests },
    { 'Content-Type': OCI_INDEX, ...(filter === null ? {} : { 'OCI-Filters-Applied': 'artifactType' }) },
  )
}
