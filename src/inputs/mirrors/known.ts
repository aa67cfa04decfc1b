import { AirgapError, type Problem } from '../../errors.ts'
import { formatReference, type Reference } from '../../oci/reference.ts'
import type { AccessOptions } from '../../registry/mirrors/access.ts'
import type { Mirrors, MirrorUse } from '../../registry/mirrors/mirrors.ts'
import type { RuleSet } from '../../registry/mirrors/rule.ts'
import type { Run } from '../../content/run.ts'

/** Where images are read from, other than the registries in their names. */
export interface MirrorOptions {
  /**
   * `FROM=TO`: images whose names begin with FROM are read from TO. A longer FROM is tried before a shorter one, equal
   * ones in the given order; then the mirrors of `mirrorsFrom`, then the source.
   */
  mirrors?: readonly string[] | undefined
  /** Where `mirrors` come from, for messages; default: `the mirror`. */
  mirrorsOrigin?: string | undefined
  /**
   * Mirror configurations of containerd (`hosts.toml`, or a folder like `/etc/containerd/certs.d`) and of Podman
   * (`registries.conf`, or a folder like `/etc/containers`), in the order to try.
   */
  mirrorsFrom?: readonly string[] | undefined
}

/** The mirrors of a run, known before any request. */
export interface KnownMirrors {
  mirrors: Mirrors
  /** How to access hosts, from the files. */
  access: AccessOptions
  inUse: MirrorUse[]
}

/**
 * Reads all mirror configurations, and finds the mirrors for some images. Reports by events which mirrors are in use,
 * and what is not supported.
 * @throws AirgapError `USAGE`, `FILE`, `INVALID_CONFIG`; `DENIED` if a file forbids reading an image.
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
