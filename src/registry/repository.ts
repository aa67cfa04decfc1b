import type { Digest } from '../oci/digest.ts'
import type { ManifestOrIndex } from '../oci/manifest.ts'
import type { Source, Target } from '../content/source.ts'
import { isHeldBack } from '../content/failures.ts'

/**
 * One repository of one registry. Its `name` is `registry/repository`. Every error names it, the registry and the operation.
 */
export interface Repository extends Source, Target {
  readonly repository: string

  /** Fetches the manifest of such a tag like {@link fetchManifest}; undefined if there is none. */
  fetchAttached(tag: string, subject: Digest, signal?: AbortSignal): Promise<ManifestOrIndex | undefined>

  /**
   * Some of the repository's tags, for messages. Sends one request, without retries.
   * @returns undefined when the registry says that there is no such repository.
   * @throws AirgapError those of every request.
   */
  someTags(signal?: AbortSignal): Promise<string[] | undefined>
}

/**
 * The digest that a tag or digest of the target resolves to. One that the registry holds back counts as absent: it is put
 * again, and a signed image is looked up once more before its tag is set.
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
