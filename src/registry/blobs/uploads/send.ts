import { during } from '../../notices.ts'
import { AirgapError } from '../../../errors.ts'
import type { Answer } from '../../net/connection.ts'
import type { UploadTask } from './session.ts'

export interface UploadRequest {
  method: 'PUT' | 'PATCH'
  target: URL
  /** The part of the blob that is sent. Bytes. */
  start: number
  end: number
  headers?: Record<string, string>
  answerTimeoutMs?: number
}

/**
 * Sends a part of a blob. Fails if the registry stops taking bytes. A 401 is answered, and the part sent again.
 * @throws AirgapError as every request, and the errors of the blob's source.
 */
export async function sendPart(task: UploadTask, request: UploadRequest): Promise<Answer> {
  const { repository, source, context, signal, onProgress } = task
  const { method, target, start, end, headers, answerTimeoutMs } = request
  const stalled = new AbortController()
  const watch = {
    onProgress,
    stallTimeoutMs: repository.connection.transport.stallTimeoutMs,
    onStall: () => stalled.abort(),
  }
  try {
    return await repository.connection.send({
      method,
      target,
      repository: repository.repository,
      scopes: [repository.push],
      headers: {
        'content-type': 'application/octet-stream',
        'content-length': String(end - start),
        ...headers,
      },
      ...(end > start ? { body: () => source.body(start, end, watch) } : {}),
      answerTimeoutMs,
      context,
      signal: signal === undefined ? stalled.signal : AbortSignal.any([signal, stalled.signal]),
    })
  } catch (error) {
    // An error of the source is reported as such, not as a network error.
    if (source.fault !== undefined) throw source.fault
    if (stalled.signal.aborted && signal?.aborted !== true) {
      throw new AirgapError('NETWORK', `${repository.registry} stopped taking bytes`, {
        ...during(context),
      }).with({ transience: {} })
    }
    throw error
  } finally {
    source.close()
  }
}
