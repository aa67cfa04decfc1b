import type { NamedImage } from '../intake/inputs.ts'
import type { Lock } from '../transfer/pack/lock.ts'
import { withClient } from './client.ts'
import type { NetworkOptions } from './network.ts'
import { requestOf, resolveWith } from './request.ts'
import { running } from './run.ts'

/** Where images are read, and who may name their digests. */
export interface SourceOptions extends NetworkOptions {
  /** `FROM=TO`: what begins with FROM is read from TO; several are tried in order, then the source. */
  mirrors?: readonly string[] | undefined
  /** Who may turn a tag into a digest; `source` where left out. */
  resolveFrom?: 'source' | 'mirror' | undefined
}

/** What to take of which images. */
export interface SelectionOptions {
  /** References as people write them (`nginx:1.27`), or what `collectImages` has collected. */
  images: readonly (string | NamedImage)[]
  /** `OS/ARCH[/VARIANT]`; all platforms where left out. */
  platforms?: 'all' | readonly string[] | undefined
  /** Take only these platforms of references with a digest too, which changes their digest. */
  rewriteDigests?: boolean | undefined
  /** Take what there is where an image lacks a platform. */
  allowMissingPlatform?: boolean | undefined
}

export type ResolveOptions = SourceOptions & SelectionOptions

/**
 * Pins images to digests. Nothing but manifests, and configs of images that are not in an index, is read.
 *
 * @returns the lock; `serializeLock` makes the file of it that {@link pack} and `airgap pack --lock` read.
 * @throws AirgapError `USAGE`, `INVALID_REFERENCE`, `INVALID_PLATFORM`, `PLATFORM_MISSING`, `NAME_CONFLICT` and those
 *   of registries; with several images at fault, `problems` names each. The signal's reason.
 */
export async function resolve(options: ResolveOptions): Promise<Lock> {
  return running(options, async (run) => {
    const request = await requestOf(options)
    return withClient(options, run, (client) => resolveWith(client, options, run, request))
  })
}
