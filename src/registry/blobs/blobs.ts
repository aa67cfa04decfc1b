import { AirgapError } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import { during, type Context } from '../notices.ts'
import type { Location } from '../net/location.ts'
import {
  contentEncodingOf,
  contentLengthOf,
  discard,
  failure,
  headerOf,
  type HttpResponse,
} from '../net/http.ts'
import type { BlobStream } from '../../content/source.ts'

/** See {@link Repository.statBlob}. */
export async function statBlob(
  repository: Location,
  digest: Digest,
  signal?: AbortSignal,
): Promise<{ size: number | undefined } | undefined> {
  const context = repository.context(`look for the blob ${digest} in ${repository.name}`)
  return repository.connection.retrying(context, signal, () =>
    statBlobOnce(repository, digest, context, signal),
  )
}

/** {@link statBlob} for use inside another operation's retry loop. */
export async function statBlobOnce(
  repository: Location,
  digest: Digest,
  context: Context,
  signal?: AbortSignal,
): Promise<{ size: number | undefined } | undefined> {
  const answer = await repository.connection.send({
    method: 'HEAD',
    target: repository.blobPath(digest),
    repository: repository.repository,
    scopes: [repository.pull],
    context,
    signal,
  })
  const { status } = answer
  // A server without HEAD does not say that the blob is there.
  const isUnknown = status === 404 || status === 405 || status === 501
  if (status !== 200 && !isUnknown) throw await failure(answer, answer.auth, context)
  discard(answer)
  return isUnknown ? undefined : { size: contentLengthOf(answer) }
}

/** See {@link Repository.openBlob}. */
export async function openBlob(
  repository: Location,
  digest: Digest,
  offset: number,
  signal?: AbortSignal,
  leastRate?: number,
): Promise<BlobStream> {
  const context = repository.context(`fetch the blob ${digest} of ${repository.name}`)
  return openRanged(offset, context, async (headers) => {
    const answer = await repository.connection.send({
      method: 'GET',
      target: repository.blobPath(digest),
      repository: repository.repository,
      scopes: [repository.pull],
      headers,
      leastRate,
      context,
      signal,
    })
    if (answer.status === 200 || answer.status === 206 || answer.status === 416) return answer
    throw await failure(answer, answer.auth, context)
  })
}

/**
 * Requests a resource from byte `offset` on (RFC 9110 § 14). An answer from the start is passed on as it is. A range
 * other than the requested one, or a 416, leads to one more request for the whole.
 *
 * @param send sends a GET with the given headers, and returns answers of status 200, 206 and 416.
 */
export async function openRanged(
  offset: number,
  context: Context,
  send: (headers: Record<string, string>) => Promise<HttpResponse>,
): Promise<BlobStream> {
  if (offset > 0) {
    const response = await send({ range: `bytes=${offset}-` })
    if (response.status === 200) return whole(response)
    const range = parseContentRange(headerOf(response, 'content-range'))
    if (response.status === 206 && range?.start === offset) {
      return streamOf(response, offset, range.total)
    }
    discard(response)
  }
  const response = await send({})
  if (response.status === 200) return whole(response)
  discard(response)
  throw new AirgapError(
    'REGISTRY',
    `${response.url.host} answers ${response.status} to a request for the whole blob`,
    { ...during(context) },
  )
}

/** The start and, where stated, the whole length of `bytes A-B/TOTAL`. */
export function parseContentRange(
  value: string | undefined,
): { start: number; total: number | undefined } | undefined {
  const match = /^\s*bytes\s+([0-9]{1,15})-([0-9]{1,15})\/([0-9]{1,15}|\*)\s*$/i.exec(value ?? '')
  if (!match) return undefined
  const [start, end] = [Number(match[1]), Number(match[2])]
  const total = match[3] === '*' ? undefined : Number(match[3])
  if (end < start || (total !== undefined && end >= total)) return undefined
  return { start, total }
}

function whole(response: HttpResponse): BlobStream {
  return streamOf(response, 0, contentLengthOf(response))
}

function streamOf(response: HttpResponse, start: number, total: number | undefined): BlobStream {
  const { body, chunks, withOrigin } = response
  const encoding = contentEncodingOf(response)
  return { start, total, encoding, body: chunks, withOrigin, cancel: () => void body.destroy() }
}
