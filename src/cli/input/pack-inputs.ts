import { AirgapError } from '../../errors.ts'
import type { DescriptionOptions } from '../../pack/describe.ts'

/** The values of pack's flags that describe the bundle. */
export interface DescriptionFlagValues {
  name?: string | undefined
  'bundle-version'?: string | undefined
  sequence?: number | undefined
  expires?: string | undefined
}

/**
 * What the flags and the environment say of the bundle.
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

/** Milliseconds since 1970 from SOURCE_DATE_EPOCH, where that is set (reproducible-builds.org). */
function creationTime(env: NodeJS.ProcessEnv): number | undefined {
  const epoch = env.SOURCE_DATE_EPOCH
  if (epoch === undefined || epoch === '') return undefined
  if (!/^[0-9]{1,11}$/.test(epoch)) {
    throw new AirgapError(
      'USAGE',
      `SOURCE_DATE_EPOCH is ${JSON.stringify(epoch)}, and has to be seconds since 1970`,
    )
  }
  return Number(epoch) * 1000
}
