import type { Lock } from '../transfer/pack/lock.ts'
import { withClient } from './client.ts'
import { requestOf, resolveWith, type ResolveOptions } from './request.ts'
import { running } from './run.ts'

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
    const request = await requestOf(options)
    const { lock, failed } = await withClient(options, run, (client) =>
      resolveWith(client, options, run, request),
    )
    if (failed.length === 0) return lock
    const { unresolved } = await import('../transfer/pack/incomplete.ts')
    throw unresolved(failed, request.images.length)
  })
}
