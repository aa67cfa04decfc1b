import type { Lock } from '../transfer/pack/lock.ts'
import type { RegistryClient } from '../registry/client.ts'
import { withClient } from './client.ts'
import { knownMirrors } from './mirrors.ts'
import { requestOf, resolveWith, type ResolveOptions } from './request.ts'
import { running } from './run.ts'

/**
 * Pins images to digests. Nothing but manifests, and configs of images that are not in an index, is read.
 *
 * @returns the lock; `serializeLock` makes the file of it that {@link pack} and `airgap pack --lock` read.
 * @throws AirgapError `USAGE`, `INVALID_REFERENCE`, `INVALID_PLATFORM`, `PLATFORM_MISSING`, `NAME_CONFLICT` and those
 *   of registries; with several images at fault, `problems` names each. The signal's reason.
 */
export async function resolve(options: ResolveOptions): Promise<Lock> {
  return running(options, async (run) => {
    const request = requestOf(options)
    const references = request.images.map(({ reference }) => reference)
    const { mirrors, access } = await knownMirrors(options, references, run)
    const work = (client: RegistryClient): Promise<Lock> =>
      resolveWith(client, options, run, { ...request, mirrors })
    return withClient(options, run, work, access)
  })
}
