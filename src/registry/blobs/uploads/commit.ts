import { AirgapError } from '../../../errors.ts'
import type { Digest } from '../../../oci/digest.ts'
import { statBlobOnce } from '../blobs.ts'
import type { Answer } from '../../net/connection.ts'
import type { Context } from '../../notices.ts'
import { discard, headerOf } from '../../net/http.ts'
import type { UploadTask } from './task.ts'

/** A registry may copy the whole blob to its final place before it answers, at this rate at least. Bytes a second. */
const COPY_RATE = 5 * 1024 ** 2
const LONGEST_COPY_MS = 15 * 60 * 1000

/** How long the last answer to an upload may take: as long as any, and as the copy of so many bytes may. Milliseconds. */
export function commitTimeout({ repository, descriptor }: UploadTask): number {
  const copying = Math.min((descriptor.size / COPY_RATE) * 1000, LONGEST_COPY_MS)
  return Math.round(repository.connection.transport.stallTimeoutMs + copying)
}

/** The Location with the digest added to its query, which is kept as it is. */
export function commitUrl(session: URL, digest: Digest): URL {
  const target = new URL(session)
  target.search += `${target.search === '' ? '' : '&'}digest=${encodeURIComponent(digest)}`
  return target
}

/**
 * What a success to the last PUT means: 201 is the registry's word; after any other it is asked for the blob.
 * @throws AirgapError `CONTENT_MISMATCH`, `REGISTRY`
 */
export async function confirmStored(
  { repository, descriptor, context, signal }: UploadTask,
  answer: Answer,
): Promise<void> {
  const { digest, size } = descriptor
  discard(answer)
  if (answer.status === 201) return checkStored(answer, digest, context)
  const there = await statBlobOnce(repository, digest, context, signal)
  if (there !== undefined && (there.size === undefined || there.size === size)) return
  throw new AirgapError(
    'REGISTRY',
    `cannot ${context.operation}: ${repository.registry} answers ${answer.status} but does not have the blob`,
  )
}

/** @throws AirgapError `CONTENT_MISMATCH` when the registry says that it has stored something else. */
export function checkStored(answer: Answer, digest: Digest, context: Context): void {
  const stored = headerOf(answer, 'docker-content-digest')
  if (stored === undefined || stored === digest) return
  throw new AirgapError(
    'CONTENT_MISMATCH',
    `cannot ${context.operation}: ${context.registry} stored it as ${JSON.stringify(stored.slice(0, 80))}`,
  )
}
