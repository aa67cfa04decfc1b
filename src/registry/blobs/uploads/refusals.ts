import { AirgapError } from '../../../errors.ts'
import { during, type Context } from '../../notices.ts'
import { answerOf, codesOf } from '../../faults/answer.ts'
import { sizeText } from './habits.ts'

/** Statuses for an upload session that does not exist (any more). */
export const SESSION_GONE: ReadonlySet<number> = new Set([400, 404, 410, 416])

/** Statuses for a request that a registry does not support here, whatever its content. */
export const UNSUPPORTED: ReadonlySet<number> = new Set([400, 404, 405, 410, 411, 501])

/** Whether a request was refused for its length: by 413, or by 416, as GHCR does above 4 MiB. */
export function isTooLarge(error: Error): boolean {
  const said = answerOf(error)
  return said?.status === 413 || (said?.status === 416 && /too large|too big|exceed/i.test(said.text))
}

/** Whether the registry got other bytes than were sent: those had the right digest. */
export function isWrongDigest(error: Error): boolean {
  return codesOf(error).includes('DIGEST_INVALID')
}

/** Whether the error is about the upload rather than the request. */
export function isAboutUpload(error: Error): boolean {
  return codesOf(error).some((code) => code.startsWith('BLOB_UPLOAD_'))
}

/**
 * @param least minimum bytes of a chunk, as the registry demands.
 * @param refused bytes of a chunk that was refused as too large, with `cause`.
 */
export function contradiction(
  context: Context,
  least: number,
  refused: number,
  cause: AirgapError,
): AirgapError {
  return new AirgapError(
    'REGISTRY',
    `${context.registry} wants chunks of at least ${sizeText(least)} (OCI-Chunk-Min-Length), but a chunk of ${sizeText(refused)} is refused as too large (${answerOf(cause)?.status})`,
    {
      ...during(context),
      hint: 'A proxy in front of the registry allows less than the registry demands: have its limit raised (nginx: client_max_body_size 0).',
      cause,
    },
  )
}

/** @param length bytes of the smallest chunk that was tried. */
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
 * Chunks of that size were accepted before, so the chunk is not what is too large.
 * @param taken bytes of the blob that the registry already has.
 */
export function blobTooLarge(context: Context, taken: number, cause: AirgapError): AirgapError {
  return new AirgapError(
    'REGISTRY',
    `${context.registry} refuses the rest as too large (${answerOf(cause)?.status}) after ${taken} bytes, though it took chunks of this size before`,
    {
      ...during(context),
      hint: 'The registry seems to limit the size of a blob, or its storage is full: ask its operator.',
      cause,
    },
  )
}

export function tookTooLittle(context: Context, bytes: number): AirgapError {
  return new AirgapError('REGISTRY', `${context.registry} took only ${bytes} bytes of a chunk`, {
    ...during(context),
  })
}
