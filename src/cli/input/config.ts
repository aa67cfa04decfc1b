import { existsSync } from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'
import type { ConfigFile, ConfigKey, InputPlaces } from '../../index.ts'
import type { LockedByConfig } from '../words/stale-lock.ts'

/** The usual name of a config. */
export const CONFIG_NAME = 'airgap.yaml'

/** The flag of each key; `images` are the arguments. */
export const FLAG_OF = {
  name: 'name',
  bundleVersion: 'bundle-version',
  imagesFrom: 'images-from',
  kubeadm: 'kubeadm',
  kubeadmRepository: 'kubeadm-repository',
  exclude: 'exclude',
  platforms: 'platform',
  rewriteDigests: 'rewrite-digests',
  allowMissingPlatform: 'allow-missing-platform',
  allowMissingAttestations: 'allow-missing-attestations',
  referrers: 'referrers',
  mirrors: 'mirror',
  resolveFrom: 'resolve-from',
} as const satisfies Partial<Record<ConfigKey, string>>

/** Keys that a lock settles: with a lock, they are not read from the config. */
const SAID_BY_LOCK: ReadonlySet<ConfigKey> = new Set([
  'images',
  'imagesFrom',
  'kubeadm',
  'kubeadmRepository',
  'exclude',
  'platforms',
  'rewriteDigests',
  'allowMissingPlatform',
  'allowMissingAttestations',
  'referrers',
  'resolveFrom',
])

/** A command line as oclif has parsed it. */
interface ParsedCommandLine {
  args: { image?: string[] | undefined }
  flags: {
    config?: string | undefined
    lock?: string | undefined
    inputPlaces?: InputPlaces
    mirrorsOrigin?: string
    lockedByConfig?: LockedByConfig
  }
  metadata: { flags: Record<string, { setFromDefault?: boolean | undefined } | undefined> }
}

/**
 * Completes a command line from the config that it names. A flag that is not given gets the value of its key, and
 * missing image arguments are taken from `images`. What is given replaces the value in the config completely.
 *
 * @param note called with a note about the lists of the config that are replaced.
 * @throws AirgapError `FILE`, `INVALID_CONFIG`
 */
export async function withConfig<P extends ParsedCommandLine>(
  parsed: P,
  note: (message: string) => void,
): Promise<P> {
  const { args, flags, metadata } = parsed
  if (flags.config === undefined) return parsed
  const { readConfig } = await import('../../index.ts')
  const file = await readConfig(flags.config)
  const { config } = file
  const values: Record<string, unknown> = { ...flags }
  const isGiven = (key: ConfigKey): boolean => {
    if (key === 'images') return (args.image ?? []).length > 0
    const flag = FLAG_OF[key as keyof typeof FLAG_OF]
    return values[flag] !== undefined && metadata.flags[flag]?.setFromDefault !== true
  }

  const said = (Object.keys(config) as ConfigKey[]).filter(
    (key) => key !== 'configVersion' && !(flags.lock !== undefined && SAID_BY_LOCK.has(key)),
  )
  const replaced = said.filter((key) => isGiven(key) && Array.isArray(config[key]))
  if (replaced.length > 0) note(`The command line replaces ${replaced.join(', ')} in ${file.path}.`)
  const taken = new Set(said.filter((key) => !isGiven(key)))
  for (const [key, flag] of Object.entries(FLAG_OF) as [keyof typeof FLAG_OF, string][]) {
    if (!taken.has(key)) continue
    values[flag] = key === 'imagesFrom' ? listsOf(file) : config[key]
  }
  return {
    ...parsed,
    args: taken.has('images') ? { ...args, image: config.images } : args,
    flags: {
      ...values,
      inputPlaces: placesOf(file, taken),
      lockedByConfig: lockedBy(file),
      ...(taken.has('mirrors') ? { mirrorsOrigin: file.path } : {}),
    },
  }
}

function placesOf(file: ConfigFile, taken: ReadonlySet<ConfigKey>): InputPlaces {
  const { config, place } = file
  const places: InputPlaces = {}
  for (const key of ['images', 'imagesFrom', 'exclude'] as const) {
    if (taken.has(key)) places[key] = (config[key] ?? []).map((_, i) => place(key, i))
  }
  if (taken.has('kubeadmRepository')) places.kubeadmRepository = place('kubeadmRepository')
  return places
}

function lockedBy(file: ConfigFile): LockedByConfig {
  const { images = [], kubeadm = [], kubeadmRepository, exclude = [], platforms } = file.config
  return {
    inputs: { images, imagesFrom: listsOf(file), kubeadm, kubeadmRepository, exclude },
    platforms,
  }
}

/** The lists of a config. Relative paths start from the config's folder. */
function listsOf({ path, config }: ConfigFile): string[] {
  return (config.imagesFrom ?? []).map((list) => (isAbsolute(list) ? list : join(dirname(path), list)))
}

/** A hint for when no image is named but there is a config here, which is never read by itself. */
export function configHere(): string | undefined {
  return existsSync(CONFIG_NAME)
    ? `There is an ${CONFIG_NAME} in this folder. To use it: --config ${CONFIG_NAME}`
    : undefined
}
