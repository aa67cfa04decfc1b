import { AirgapError, type Problem } from '../../errors.ts'
import { formatReference, type Reference } from '../../oci/reference.ts'
import type { AccessOptions } from '../../registry/mirrors/access.ts'
import type { Mirrors, MirrorUse } from '../../registry/mirrors/mirrors.ts'
import type { RuleSet } from '../../registry/mirrors/rule.ts'
import type { Run } from '../../content/run.ts'

/** Where images are read besides the registries that their names say. */
export interface MirrorOptions {
  /**
   * `FROM=TO`: what begins with FROM is read from TO. A longer FROM goes before a shorter one, equals in the order
   * given; then what `mirrorsFrom` says, then the source.
   */
  mirrors?: readonly string[] | undefined
  /** Where `mirrors` were said, for messages; `the mirror` where left out. */
  mirrorsOrigin?: string | undefined
  /**
   * Mirror configurations of containerd (`hosts.toml`, or a folder like `/etc/containerd/certs.d`) and of Podman
   * (`registries.conf`, or a folder like `/etc/containers`), in the order to ask.
   */
  mirrorsFrom?: readonly string[] | undefined
}

/** What a run knows of mirrors before it asks anybody. */
export interface KnownMirrors {
  mirrors: Mirrors
  /** How the client has to speak to hosts, as the files say. */
  access: AccessOptions
  inUse: MirrorUse[]
}

/**
 * Reads all that is configured of mirrors, and finds out what of it counts for some images. Tells by events which
 * mirrors are in use, and what is not supported.
 * @throws AirgapError `USAGE`, `FILE`, `INVALID_CONFIG`; `DENIED` where a file forbids to read an image.
 */
export async function knownMirrors(
  options: MirrorOptions,
  images: readonly Reference[],
  { onEvent }: Run,
): Promise<KnownMirrors> {
  const { parseMirror } = await import('../../registry/mirrors/rule.ts')
  const given = (options.mirrors ?? []).map((mirror) => parseMirror(mirror, options.mirrorsOrigin))
  const sets: RuleSet[] = [{ counts: 'all', rules: given }]
  const registries = new Set(images.map(({ registry }) => registry))
  const warn = (message: string): void => onEvent({ type: 'warning', message })
  for (const path of options.mirrorsFrom ?? []) {
    const { readMirrorFiles } = await import('./mirror-files.ts')
    sets.push(await readMirrorFiles(path, { registries, warn }))
  }
  const { Mirrors } = await import('../../registry/mirrors/mirrors.ts')
  const { accessOptions } = await import('../../registry/mirrors/access.ts')
  const { mirrorsInUse } = await import('../../registry/mirrors/mirrors.ts')
  const mirrors = new Mirrors(sets)
  const found = placesOfAll(mirrors, images)
  const access = await accessOptions(found.flatMap(({ places }) => places.access))
  const inUse = mirrorsInUse(found)
  if (inUse.length > 0) onEvent({ type: 'mirrors', inUse })
  return { mirrors, access, inUse }
}

function placesOfAll(mirrors: Mirrors, images: readonly Reference[]) {
  const problems: Problem[] = []
  let last: AirgapError | undefined
  const found = images.flatMap((image) => {
    try {
      return [{ image, places: mirrors.placesOf(image) }]
    } catch (error) {
      if (!(error instanceof AirgapError)) throw error
      last = error
      const entry = formatReference(image)
      problems.push({ entry, message: error.reason })
      return []
    }
  })
  if (last === undefined) return found
  if (problems.length === 1) throw last
  throw new AirgapError(last.code, `${problems.length} images must not be read`, {
    hint: last.hints,
    problems,
  })
}
