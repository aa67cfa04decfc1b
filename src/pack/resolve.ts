import type { Resolved } from './resolve-images.ts'
import type { Lock } from './lock.ts'
import type { RegistryClient } from '../registry/client.ts'
import { withClient } from '../registry/with-client.ts'
import { knownMirrors } from '../inputs/mirrors/known.ts'
import { requestOf, resolveWith, type ResolveOptions } from './request.ts'
import { running } from '../content/run.ts'

/**
 * Pins images to digests. Nothing but manifests, and configs of images that are not in an index, is read.
 *
 * @returns the lock; `serializeLock` makes the file of it that {@link pack} and `airgap pack --lock` read. With
 *   `skipFailed`, its `skipped` are the images that could not be resolved.
 * @throws AirgapError `INCOMPLETE` when some of several images could not be resolved: `problems` names each, with its
 *   own code. When none could: `PLATFORM_MISSING` or those of registries. `USAGE`, `INVALID_REFERENCE`,
 *   `INVALID_PLATFORM`, `NAME_CONFLICT`. The signal's reason.
 */
export async function resolve(options: ResolveOptions): Promise<Lock> {
  return running(options, async (run) => {
    const request = requestOf(options)
    const references = request.images.map(({ reference }) => reference)
    const { mirrors, access } = await knownMirrors(options, references, run)
    const work = (client: RegistryClient): Promise<Resolved> =>
      resolveWith(client, options, run, { ...request, mirrors })
    const { lock, failed } = await withClient(options, run, work, access)
    if (failed.length === 0) return lock
    const { unresolved } = await import('./incomplete.ts')
    throw unresolved(failed, request.images.length)
  })
}
