import { BUNDLE_TYPE, FORMAT_VERSION, MAX_TEXT, type BundleDescription } from '../bundle/description.ts'
import { isMoment } from '../bundle/fields.ts'
import { AirgapError } from '../errors.ts'
import { TOOL } from '../own-files.ts'
import { formatMoment } from '../bytes.ts'

/** What a bundle says about itself, apart from its images. */
export interface DescriptionOptions {
  /**
   * A push remembers the bundle's sequence under this name and the signer. By default: the name of the bundles in `reuse`,
   * if they have the same; else the output's file name without its extension and without a number, version or date at its
   * end; `bundle` for a stream.
   */
  name?: string | undefined
  /** A version to show, free text. */
  version?: string | undefined
  /** A number that grows with every bundle of that name; by default the creation time in seconds. */
  sequence?: number | undefined
  /** When the bundle expires: a date (at its end, in UTC) or a time (RFC 3339, UTC). */
  expires?: string | undefined
  /** Milliseconds since 1970; now by default. */
  created?: number | undefined
}

/**
 * Everything in `airgap.json` except the images and what was left out.
 * @throws AirgapError `USAGE`
 */
export function describeBundle(
  options: DescriptionOptions & { name: string },
  now: number,
): Omit<BundleDescription, 'images' | 'platforms' | 'skipped'> {
  const { name, version } = options
  const created = options.created ?? now
  const seconds = Math.floor(created / 1000)
  const expires = options.expires === undefined ? undefined : parseExpiry(options.expires)
  if (expires !== undefined && Date.parse(expires) <= created) {
    throw new AirgapError('USAGE', `the expiry ${options.expires} is not after the bundle's creation`)
  }
  if (name === '') throw new AirgapError('USAGE', "the bundle's name is empty")
  for (const [what, text] of [
    ['name', name],
    ['version', version ?? ''],
  ] as const) {
    if (text.length > MAX_TEXT) {
      throw new AirgapError('USAGE', `the bundle's ${what} has more than ${MAX_TEXT} characters`)
    }
  }
  const sequence = options.sequence ?? seconds
  if (!Number.isSafeInteger(sequence) || sequence < 0)
    throw new AirgapError('USAGE', 'the sequence must be a whole number below 2^53')
  return {
    type: BUNDLE_TYPE,
    formatVersion: FORMAT_VERSION,
    requires: [],
    name,
    ...(version === undefined ? {} : { version }),
    sequence,
    created: formatMoment(seconds * 1000),
    ...(expires === undefined ? {} : { expires }),
    tool: TOOL,
  }
}

function parseExpiry(text: string): string {
  const moment = /^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T23:59:59Z` : text
  if (isMoment(moment)) return moment
  throw new AirgapError('USAGE', `the expiry ${text} is neither a date nor a time in UTC`, {
    hint: 'Write 2027-06-30, or 2027-06-30T12:00:00Z.',
  })
}
