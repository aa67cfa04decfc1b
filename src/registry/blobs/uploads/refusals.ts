import { AirgapError } from '../../../errors.ts'
import { during, type Context } from '../../notices.ts'
import { answerOf, codesOf } from '../../faults/answer.ts'
import { sizeText } from './habits.ts'

/** How registries say that there is no such upload session (any more). */
export const SESSION_GONE: ReadonlySet<number> = new Set([400, 404, 410, 416])

/** How registries answer a request that they do not take at this place, whatever is in it. */
export const UNSUPPORTED: ReadonlySet<number> = new Set([400, 404, 405, 410, 411, 501])

/** Whether a request was refused for its length: by 413, or as GHCR does for more than 4 MiB, by 416. */
export function isTooLarge(error: Error): boolean {
  const said = answerOf(error)
  return said?.status === 413 || (said?.status === 416 && /too large|too big|exceed/i.test(said.text))
}

/** Whether what arrived is not what was sent: that had the right digest. */
export function isWrongDigest(error: Error): boolean {
  return codesOf(error).includes('DIGEST_INVALID')
}

/** Whether the registry speaks of the upload, rather than of the request. */
export function isAboutUpload(error: Error): boolean {
  return codesOf(error).some((code) => code.startsWith('BLOB_UPLOAD_'))
}

/**
 * @param least bytes of a chunk that the registry asks for.
 * @param refused bytes of a chunk that were refused with `cause` as too many.
 */
export function contradiction(
  context: Context,
  least: number,
  refused: number,
  cause: AirgapError,
): AirgapError {
  return new AirgapError(
    'REGISTRY',
    `${context.registry} wants chunks of at least ${sizeText(least)} (OCI-Chunk-Min-Length), and a chunk of ${sizeText(refused)} is refused as too large (${answerOf(cause)?.status})`,
    {
      ...during(context),
      hint: 'A proxy in front of the registry allows less than the registry asks for: have its limit raised (nginx: client_max_body_size 0).',
      cause,
    },
  )
}

/** @param length bytes of the smallest chunk that is tried. */
export function chunkTooLarge(context: Context, length: number, cause: AirgapError): AirgapError {
  return new AirgapError(
    'REGISTRY',
    `even a request of ${sizeText(length)} is too large for ${context.registry}, or for a proxy in front of it (${answerOf(cause)?.status})`,
    {
      ...during(context),
      hint: 'Have the limit for request bodies raised (nginx: client_max_body_size 0).',
      cause,
    },
  )
}

/**
 * Chunks of that size were taken before, so it is not the chunk that is too large.
 * @param taken bytes of the blob that the registry has.
 */
export function blobTooLarge(context: Context, taken: number, cause: AirgapError): AirgapError {
  return new AirgapError(
    'REGISTRY',
    `${context.registry} refuses the rest as too large (${answerOf(cause)?.status}) after ${taken} bytes, in chunks of a size that it took before`,
    {
      ...during(context),
      hint: 'The registry seems to limit whole blobs, or its space is used up: ask who runs it.',
      cause,
    },
  )
}

export function tookTooLittle(context: Context, bytes: number): AirgapError {
  return new AirgapError('REGISTRY', `${context.registry} took only ${bytes} bytes of a chunk`, {
    ...during(context),
  })
}
