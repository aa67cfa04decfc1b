import { basename } from 'node:path'
import { MAX_TEXT, FORMAT_VERSION, BUNDLE_TYPE, type BundleDescription } from '../bundle/description.ts'
import { formatMoment, isMoment } from '../bundle/fields.ts'
import { AirgapError } from '../errors.ts'
import { TOOL } from '../version.ts'

/** The values of pack's flags that describe the bundle. */
export interface DescriptionFlagValues {
  output: string
  name?: string | undefined
  'bundle-version'?: string | undefined
  sequence?: number | undefined
  expires?: string | undefined
}

/** What a bundle is called when it goes to a pipe and no name is given. */
const NAME_OF_A_STREAM = 'bundle'

/**
 * Everything in `airgap.json` but the images.
 * @throws AirgapError `USAGE`
 */
export function describeBundle(
  flags: DescriptionFlagValues,
  env: NodeJS.ProcessEnv,
  now: number,
): Omit<BundleDescription, 'images' | 'platforms'> {
  const created = creationTime(env, now)
  const seconds = Math.floor(created / 1000)
  const expires = flags.expires === undefined ? undefined : parseExpiry(flags.expires)
  if (expires !== undefined && Date.parse(expires) <= created) {
    throw new AirgapError('USAGE', `--expires ${flags.expires} is not after the bundle's creation`)
  }
  if (flags.name === '') throw new AirgapError('USAGE', '--name is empty')
  for (const name of ['name', 'bundle-version'] as const) {
    if ((flags[name]?.length ?? 0) > MAX_TEXT) {
      throw new AirgapError('USAGE', `--${name} has more than ${MAX_TEXT} characters`)
    }
  }
  const sequence = flags.sequence ?? seconds
  if (!Number.isSafeInteger(sequence))
    throw new AirgapError('USAGE', '--sequence has to be a whole number below 2^53')
  return {
    type: BUNDLE_TYPE,
    formatVersion: FORMAT_VERSION,
    requires: [],
    name: flags.name ?? (flags.output === '-' ? NAME_OF_A_STREAM : basename(flags.output)),
    ...(flags['bundle-version'] === undefined ? {} : { version: flags['bundle-version'] }),
    sequence,
    created: formatMoment(seconds * 1000),
    ...(expires === undefined ? {} : { expires }),
    tool: TOOL,
  }
}

/** Milliseconds since 1970; from SOURCE_DATE_EPOCH where that is set (reproducible-builds.org). */
function creationTime(env: NodeJS.ProcessEnv, now: number): number {
  const epoch = env.SOURCE_DATE_EPOCH
  if (epoch === undefined || epoch === '') return now
  if (!/^[0-9]{1,11}$/.test(epoch)) {
    throw new AirgapError(
      'USAGE',
      `SOURCE_DATE_EPOCH is ${JSON.stringify(epoch)}, and has to be seconds since 1970`,
    )
  }
  return Number(epoch) * 1000
}

/** A date (its end, in UTC) or a moment. */
function parseExpiry(text: string): string {
  const moment = /^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T23:59:59Z` : text
  if (isMoment(moment)) return moment
  throw new AirgapError('USAGE', `--expires ${text} is neither a date nor a moment`, {
    hint: 'Write 2027-06-30, or 2027-06-30T12:00:00Z.',
  })
}
