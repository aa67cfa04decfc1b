import { AirgapError } from '../../../errors.ts'
import type { Digest } from '../../../oci/digest.ts'
import { isRepository } from '../../../oci/reference.ts'
import type { Location } from '../../net/location.ts'
import { discard, failure } from '../../net/http.ts'
import { checkStored } from './commit.ts'
import { sessionUrl } from './session.ts'

const REFUSALS = new Set(['UNAUTHORIZED', 'DENIED', 'NOT_FOUND'])

/** See {@link Repository.mountBlob}; distribution-spec § Mounting a blob from another repository. */
export async function mountBlob(
  repository: Location,
  digest: Digest,
  fromRepository: string,
  signal?: AbortSignal,
): Promise<boolean> {
  const context = repository.context(
    `mount the blob ${digest} from ${fromRepository} into ${repository.name}`,
  )
  if (!isRepository(fromRepository)) {
    throw new AirgapError('INVALID_REFERENCE', `${JSON.stringify(fromRepository)} is not a repository`)
  }
  const query = new URLSearchParams({ mount: digest, from: fromRepository }).toString()
  const answer = await repository.connection
    .retrying(context, signal, async () => {
      const tried = await repository.connection.send({
        method: 'POST',
        target: `/v2/${repository.repository}/blobs/uploads/?${query}`,
        repository: repository.repository,
        scopes: [repository.push, `repository:${fromRepository}:pull`],
        context,
        signal,
      })
      if (tried.status === 429 || tried.status === 503) throw await failure(tried, tried.auth, context)
      return tried
    })
    .catch((error: unknown) => {
      // The token service may refuse what the mount needs; the upload that follows asks for less, or fails itself.
      if (error instanceof AirgapError && REFUSALS.has(error.code)) return undefined
      throw error
    })
  if (answer === undefined) return false
  discard(answer)
  if (answer.status === 201) {
    checkStored(answer, digest, context)
    return true
  }
  if (answer.status === 202) repository.sessions.set(digest, sessionUrl(repository, answer, context))
  return false
}
