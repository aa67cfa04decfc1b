import type { SelectionOptions, SourceOptions } from '../../pack/request.ts'
import type { ReferrerChoice } from '../../oci/referrer.ts'
import { pressureOptions, registryOptions, type RegistryFlagValues } from './registries.ts'

/** The values of `resolvingFlags`, but for the inputs. */
export interface ResolvingFlagValues extends RegistryFlagValues {
  platform?: string[] | undefined
  'rewrite-digests'?: boolean | undefined
  'allow-missing-platform'?: boolean | undefined
  'allow-missing-attestations'?: boolean | undefined
  'skip-failed'?: boolean | undefined
  referrers?: ReferrerChoice | undefined
  mirror?: string[] | undefined
  'mirrors-from'?: string[] | undefined
  /** Set by `withConfig`. */
  mirrorsOrigin?: string | undefined
  'resolve-from'?: 'source' | 'mirror' | undefined
  concurrency: number
}

/** What to take of images and where to read them, as the flags of resolve and pack say. */
export function sourcesFrom(flags: ResolvingFlagValues): SourceOptions & Omit<SelectionOptions, 'images'> {
  return {
    platforms: flags.platform,
    rewriteDigests: flags['rewrite-digests'],
    allowMissingPlatform: flags['allow-missing-platform'],
    allowMissingAttestations: flags['allow-missing-attestations'],
    skipFailed: flags['skip-failed'],
    referrers: flags.referrers,
    mirrors: flags.mirror,
    mirrorsOrigin: flags.mirrorsOrigin,
    mirrorsFrom: flags['mirrors-from'],
    resolveFrom: flags['resolve-from'],
    registries: registryOptions(flags),
    ...pressureOptions(flags),
    concurrency: flags.concurrency,
  }
}
