import { AirgapError } from '../../errors.ts'
import { shellWord } from '../../text.ts'
import type { Config, Inputs, Lock } from '../../index.ts'
import { formatPlatform, parsePlatforms } from '../../oci/platform.ts'
import { formatReference } from '../../oci/reference.ts'

/** The part of a config that a lock settles too. */
export interface LockedByConfig {
  inputs: Inputs
  platforms: Config['platforms']
}

/** Pack's flags, completed by `withConfig`. */
interface LockFlagValues {
  config?: string | undefined
  lock?: string | undefined
  exclude?: string[] | undefined
  lockedByConfig?: LockedByConfig
}

/**
 * Warns if a lock and the config used with it name different images or platforms: the lock was made before the config
 * changed, or with other flags. The lock is packed anyway.
 */
export async function compareLock(
  lock: Lock,
  flags: LockFlagValues,
  warn: (message: string) => void,
): Promise<void> {
  if (flags.config === undefined || !flags.lockedByConfig) return
  const { inputs, platforms } = flags.lockedByConfig
  const differences: string[] = []
  try {
    const named = await namesOf(inputs, flags.exclude ?? [])
    // Skipped images are known to be missing.
    const held = new Set(lock.images.map(({ source }) => source))
    for (const { source } of lock.skipped ?? []) named.delete(source)
    differences.push(
      ...said(
        'lacks',
        [...named].filter((name) => !held.has(name)),
      ),
      ...said(
        'also has',
        [...held].filter((name) => !named.has(name)),
      ),
    )
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    warn(`${flags.lock} cannot be compared with ${flags.config}: ${error.message}`)
    return
  }
  const wanted = parsePlatforms(platforms)
  const [asked, locked] = [wanted === 'all' ? wanted : wanted.map(formatPlatform), lock.platforms].map(
    (all) => (typeof all === 'string' ? all : all?.toSorted().join(', ')),
  )
  if (asked !== locked) differences.push(`is for the platforms ${locked} instead of ${asked}`)
  if (differences.length === 0) return
  warn(
    `${flags.lock} does not match ${flags.config}: it ${differences.join('; it ')}. Packing the lock as it is. To renew it: airgap resolve --config ${shellWord(flags.config)} -o ${shellWord(flags.lock ?? '')} --force`,
  )
}

async function namesOf(inputs: Inputs, exclude: readonly string[]): Promise<Set<string>> {
  const all = { ...inputs, exclude: [...(inputs.exclude ?? []), ...exclude] }
  const noStandardInput = (): Promise<Uint8Array> => Promise.resolve(new Uint8Array())
  const { collectImages } = await import('../../index.ts')
  const images = await collectImages(all, noStandardInput)
  return new Set(images.map(({ reference }) => formatReference(reference)))
}

function said(verb: string, names: readonly string[]): string[] {
  const [first] = names
  if (first === undefined) return []
  return [`${verb} ${first}${names.length === 1 ? '' : ` and ${names.length - 1} more`}`]
}
