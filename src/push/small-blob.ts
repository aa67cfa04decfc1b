import { AirgapError } from '../errors.ts'
import { digestOf, type Digest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import type { Repository } from '../registry/repository.ts'

/** Uploads in progress, by repository. */
const underWay = new WeakMap<Repository, Map<Digest, Promise<void>>>()

/**
 * Makes sure that a blob made in memory is in a repository, with the right size. If several callers need the same blob at
 * the same time, it is sent once: Docker's registry 2.8 loses a blob that is uploaded twice at once.
 * @returns its descriptor.
 */
export async function putSmallBlob(
  repository: Repository,
  bytes: Uint8Array,
  mediaType: string,
  signal?: AbortSignal,
): Promise<Descriptor> {
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length }
  const { digest, size } = descriptor
  const all = underWay.get(repository) ?? new Map<Digest, Promise<void>>()
  underWay.set(repository, all)
  // If the other upload fails or is aborted, try it here.
  for (let other = all.get(digest); other; other = all.get(digest)) {
    const isThere = await other.then(
      () => true,
      () => false,
    )
    if (isThere) return descriptor
    signal?.throwIfAborted()
  }
  const put = async (): Promise<void> => {
    const there = await repository.statBlob(digest, signal)
    if (there?.size !== size) await sendSmallBlob(repository, bytes, signal)
  }
  const own = put().finally(() => all.delete(digest))
  all.set(digest, own)
  await own
  return descriptor
}

/** Uploads a blob made in memory without asking whether it is there. */
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

/** Whether content is missing or does not match its descriptor. Any other error is a fault of the registry. */
export function isUnusable(error: unknown): boolean {
  return error instanceof AirgapError && UNUSABLE.has(error.code)
}
