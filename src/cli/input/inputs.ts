import { buffer } from 'node:stream/consumers'
import { AirgapError } from '../../errors.ts'
import type {
  InputPlaces,
  NamedImage,
  DescriptionOptions,
  SelectionOptions,
  SourceOptions,
} from '../../index.ts'
import { configHere } from './config.ts'
import type { ReferrerChoice } from '../../oci/manifest.ts'
import { pressureOptions, type RegistryFlagValues, registryOptions } from './registries.ts'

/** The values of `inputFlags` and the image arguments. */
export interface InputFlagValues {
  'images-from'?: string[] | undefined
  kubeadm?: string[] | undefined
  'kubeadm-repository'?: string | undefined
  exclude?: string[] | undefined
  config?: string | undefined
  /** Set by `withConfig`. */
  inputPlaces?: InputPlaces
}

/** The images that a command line names. */
export async function imagesOf(
  images: readonly string[],
  flags: InputFlagValues,
  warn: (message: string) => void,
): Promise<NamedImage[]> {
  const sources = [images, flags['images-from'] ?? [], flags.kubeadm ?? []]
  if (sources.every(({ length }) => length === 0)) {
    const hint =
      flags.config === undefined
        ? configHere()
        : 'Fill in images, imagesFrom or kubeadm there, or name images.'
    if (hint !== undefined)
      throw new AirgapError('USAGE', `${flags.config ?? 'the command line'} names no image`, { hint })
  }
  const { collectImages } = await import('../../index.ts')
  return collectImages(
    {
      images,
      imagesFrom: flags['images-from'] ?? [],
      kubeadm: flags.kubeadm ?? [],
      kubeadmRepository: flags['kubeadm-repository'],
      exclude: flags.exclude ?? [],
      places: flags.inputPlaces,
    },
    readStandardInput,
    warn,
  )
}

export async function readStandardInput(): Promise<Uint8Array> {
  if (process.stdin.isTTY) {
    throw new AirgapError('USAGE', '--images-from - reads standard input, but nothing is piped into it')
  }
  const { MAX_LIST_SIZE } = await import('../../index.ts')
  let size = 0
  return buffer(
    process.stdin.map((chunk: Buffer) => {
      size += chunk.length
      if (size > MAX_LIST_SIZE)
        throw new AirgapError('INVALID_LIST', 'standard input: too large for a list of images')
      return chunk
    }),
  )
}

/** The values of pack's flags that describe the bundle. */
interface DescriptionFlagValues {
  name?: string | undefined
  'bundle-version'?: string | undefined
  sequence?: number | undefined
  expires?: string | undefined
}

/**
 * What the flags and the environment say about the bundle.
 * @throws AirgapError `USAGE`
 */
export function descriptionFrom(flags: DescriptionFlagValues, env: NodeJS.ProcessEnv): DescriptionOptions {
  return {
    name: flags.name,
    version: flags['bundle-version'],
    sequence: flags.sequence,
    expires: flags.expires,
    created: creationTime(env),
  }
}

/** Milliseconds since 1970 from SOURCE_DATE_EPOCH, if it is set (reproducible-builds.org). */
function creationTime(env: NodeJS.ProcessEnv): number | undefined {
  const epoch = env.SOURCE_DATE_EPOCH
  if (epoch === undefined || epoch === '') return undefined
  if (!/^[0-9]{1,11}$/.test(epoch)) {
    throw new AirgapError(
      'USAGE',
      `SOURCE_DATE_EPOCH is ${JSON.stringify(epoch)}, but must be seconds since 1970`,
    )
  }
  return Number(epoch) * 1000
}

/** The values of `resolvingFlags`, except the inputs. */
interface ResolvingFlagValues extends RegistryFlagValues {
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
    mirrorsOrigin: flags.mirrorsOrigin ?? '--mirror',
    mirrorsFrom: flags['mirrors-from'],
    resolveFrom: flags['resolve-from'],
    registries: registryOptions(flags),
    ...pressureOptions(flags),
    concurrency: flags.concurrency,
  }
}
