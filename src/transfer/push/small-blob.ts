import { AirgapError } from '../../errors.ts'
import { digestOf } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/manifest.ts'
import type { Repository } from '../../registry/repository.ts'

/**
 * Sees to it that a blob that was made in memory is in a repository, with the length that it should have.
 * @returns its descriptor.
 */
export async function putSmallBlob(
  repository: Repository,
  bytes: Uint8Array,
  mediaType: string,
  signal?: AbortSignal,
): Promise<Descriptor> {
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length }
  const there = await repository.statBlob(descriptor.digest, signal)
  if (there?.size !== bytes.length) await sendSmallBlob(repository, bytes, signal)
  return descriptor
}

/** The same without asking whether it is there. */
export async function sendSmallBlob(
  repository: Repository,
  bytes: Uint8Array,
  signal?: AbortSignal,
): Promise<void> {
  async function* from(offset: number): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(offset)
  }
  await repository.uploadBlob({ digest: digestOf(bytes), size: bytes.length }, from, signal)
}

const UNUSABLE: ReadonlySet<string> = new Set(['NOT_FOUND', 'INVALID_CONTENT', 'CONTENT_MISMATCH'])

/** Whether something is only not what its descriptor says, or not there; anything else is a fault of the registry. */
export function isUnusable(error: unknown): boolean {
  return error instanceof AirgapError && UNUSABLE.has(error.code)
}
