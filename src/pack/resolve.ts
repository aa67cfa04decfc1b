import type { Resolved, ResolveOptions, SelectionOptions } from './resolve-images.ts'
import type { Lock } from './lock.ts'
import type { RegistryClient } from '../registry/client.ts'
import { withClient } from '../registry/with-client.ts'
import { knownMirrors } from '../inputs/mirrors/known.ts'
import { type Run, running } from '../content/run.ts'
import { AirgapError } from '../errors.ts'
import type { NamedImage } from '../inputs/inputs.ts'
import { parsePlatforms, type Platform } from '../oci/platform.ts'
import { parseReference } from '../oci/reference.ts'
import type { Mirrors } from '../registry/mirrors/mirrors.ts'
import type { DocumentCache } from './sources.ts'

/**
 * Pins images to digests. Reads only manifests, and the configs of images that are not in an index.
 *
 * @returns the lock; `serializeLock` turns it into the file that {@link pack} and `airgap pack --lock` read. With
 *   `skipFailed`, its `skipped` are the images that could not be resolved.
 * @throws AirgapError `INCOMPLETE` if some of several images could not be resolved: `problems` names each, with its own
 *   code. If none could: `PLATFORM_MISSING` or the errors of registries. `USAGE`, `INVALID_REFERENCE`,
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
    const { unresolved } = await import('./resume/incomplete.ts')
    throw unresolved(failed, request.images.length)
  })
}

/** What a caller asked for, parsed. */
export interface ResolveRequest {
  images: NamedImage[]
  platforms: 'all' | Platform[]
}

/**
 * Parses a request, so that mistakes are found before any registry is asked.
 * @throws AirgapError `USAGE`, `INVALID_REFERENCE`, `INVALID_PLATFORM`
 */
export function requestOf({ images, platforms }: SelectionOptions): ResolveRequest {
  if (images.length === 0) throw new AirgapError('USAGE', 'no image is named')
  return {
    images: images.map((image) =>
      typeof image === 'string' ? { reference: parseReference(image), from: 'argument' } : image,
    ),
    platforms: parsePlatforms(platforms),
  }
}

/**
 * Pins the images of a request. With `skipFailed`, the lock records those that cannot be resolved as left out.
 * @param cache keeps what was read, for the pack that follows.
 * @throws AirgapError as `resolveImages`
 */
export async function resolveWith(
  client: RegistryClient,
  options: ResolveOptions & { mayAllFail?: boolean | undefined },
  run: Run,
  request: ResolveRequest & { mirrors: Mirrors },
  cache?: DocumentCache,
): Promise<Resolved> {
  const { resolveImages, skipFailed } = await import('./resolve-images.ts')
  const resolved = await resolveImages({
    ...run,
    concurrency: options.concurrency,
    ...request,
    client,
    rewriteDigests: options.rewriteDigests,
    allowMissingPlatform: options.allowMissingPlatform,
    allowMissingAttestations: options.allowMissingAttestations,
    resolveFrom: options.resolveFrom,
    mayAllFail: options.mayAllFail,
    referrers: options.referrers,
    cache,
  })
  return options.skipFailed === true ? { lock: skipFailed(resolved), failed: [] } : resolved
}
