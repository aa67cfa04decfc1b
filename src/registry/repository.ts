import type { Digest } from '../oci/digest.ts'
import type { ManifestOrIndex } from '../oci/manifest.ts'
import type { Source, Target } from '../content/source.ts'
import { isHeldBack } from '../content/failures.ts'

/**
 * One repository of one registry. Its `name` is `registry/repository`. Every error names it, the registry and the operation.
 */
export interface Repository extends Source, Target {
  readonly repository: string

  /** What stands under such a tag, as {@link fetchManifest} reads it; undefined where there is none. */
  fetchAttached(tag: string, subject: Digest, signal?: AbortSignal): Promise<ManifestOrIndex | undefined>

  /**
   * Some of the repository's tags, by one request that is not made again: for messages.
   * @returns undefined when the registry says that there is no such repository.
   * @throws AirgapError those of every request.
   */
  someTags(signal?: AbortSignal): Promise<string[] | undefined>
}

/**
 * What a tag or digest of the target leads to, as far as it can be read. What is held back there is put again; what a tag
 * leads to is looked at once more when the image is signed, before it is set.
 */
export async function digestAt(
  repository: Repository,
  ref: string,
  signal: AbortSignal,
): Promise<Digest | undefined> {
  try {
    return (await repository.resolveManifest(ref, signal))?.digest
  } catch (error) {
    if (isHeldBack(error)) return undefined
    throw error
  }
}
