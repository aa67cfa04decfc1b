import type { AirgapError } from '../../../errors.ts'
import { failure } from '../../net/http.ts'
import { markTransient, transienceOf } from '../../net/retry.ts'
import { commitUrl, commitTimeout, confirmStored } from './commit.ts'
import { sendPart } from './send.ts'
import { isTooLarge, isWrongDigest, SESSION_GONE, UNSUPPORTED } from './refusals.ts'
import type { UploadTask } from './task.ts'

/** How an upload in one stream ended, where that is not with an error. */
export type StreamEnd =
  | { kind: 'stored' }
  /** The registry, or a proxy in front of it, does not take the blob so; it may take it in chunks. */
  | { kind: 'refused'; error: AirgapError }
  /** There is no such session any more. */
  | { kind: 'gone'; error: AirgapError }

/**
 * Sends the whole blob in one PUT (distribution-spec § Pushing a blob monolithically).
 *
 * @param isLeft the session was left behind by a refused mount and may have run out.
 * @param onBroken is called when it broke off on the way.
 */
export async function sendWhole(
  task: UploadTask,
  session: URL,
  isLeft: boolean,
  onBroken: () => void,
): Promise<StreamEnd> {
  const { descriptor, source, context } = task
  if (descriptor.size === 0) await source.check()
  const answer = await sendPart(task, {
    method: 'PUT',
    target: commitUrl(session, descriptor.digest),
    start: 0,
    end: descriptor.size,
    answerTimeoutMs: commitTimeout(task),
  }).catch((error: unknown) => {
    if (transienceOf(error) !== undefined) onBroken()
    throw error
  })
  const { status } = answer
  if (status >= 200 && status < 300) {
    await confirmStored(task, answer)
    return { kind: 'stored' }
  }
  const error = await failure(answer, answer.auth, context)
  if (status >= 500 && status !== 501 && status !== 503) onBroken()
  // A new session has not run out.
  if (isLeft && SESSION_GONE.has(status)) return { kind: 'gone', error }
  // What was sent had the right digest, so it was altered on the way.
  if (status === 400 && isWrongDigest(error)) throw markTransient(error, { attempts: 3 })
  // No room is no room, in chunks as well; 413 is about this request.
  if (error.refusal?.kind === 'room' && status !== 413) throw error
  if (isTooLarge(error) || UNSUPPORTED.has(status)) return { kind: 'refused', error }
  throw error
}
