import * as v from 'valibot'
import { AirgapError } from '../../errors.ts'
import { checkShape, parseStrictJson } from '../../oci/json.ts'
import { MEMBERS, text, TimeRange } from '../protobuf-json.ts'
import type { Hint } from '../../hints.ts'

/** Maximum size of a signing config, in bytes. */
export const MAX_SIGNING_CONFIG = 1024 * 1024

const MEDIA_TYPE = 'application/vnd.dev.sigstore.signingconfig.v0.2+json'

/** The supported major versions of the APIs. */
const VERSIONS = { authority: [1], log: [1, 2], timestamps: [1] } as const

const ServiceSchema = v.strictObject(
  {
    url: v.string('a URL is expected'),
    majorApiVersion: v.number('a number is expected'),
    validFor: v.nullish(TimeRange),
    operator: v.nullish(text, ''),
  },
  MEMBERS,
)
const services = v.nullish(v.array(ServiceSchema, 'a list is expected'), [])
const selection = v.nullish(
  v.strictObject(
    {
      selector: v.nullish(
        v.picklist(['ALL', 'ANY', 'EXACT', 'SERVICE_SELECTOR_UNDEFINED'], 'ALL, ANY or EXACT is expected'),
      ),
      count: v.nullish(v.pipe(v.number('a number is expected'), v.integer(), v.minValue(0)), 0),
    },
    MEMBERS,
  ),
)

const ConfigSchema = v.strictObject(
  {
    mediaType: v.literal(MEDIA_TYPE, `it is not ${MEDIA_TYPE}`),
    caUrls: services,
    oidcUrls: services,
    rekorTlogUrls: services,
    rekorTlogConfig: selection,
    tsaUrls: services,
    tsaConfig: selection,
  },
  MEMBERS,
)

type Service = v.InferOutput<typeof ServiceSchema>
type Selection = v.InferOutput<typeof selection>
export type SigningConfig = v.InferOutput<typeof ConfigSchema>

/** The services that make a signature. */
export interface SigningServices {
  /** The URL of Fulcio. The paths of its API are below it. */
  authority: URL
  /** The URL of each instance of Rekor. The paths of its API are below it. */
  logs: { url: URL; version: 1 | 2 }[]
  /** The whole URL of each timestamp authority. */
  timestamps: URL[]
}

/** The public good instance of Sigstore, as in its own signing config (TUF target signing_config.v0.2.json). */
export const PUBLIC_SERVICES: SigningServices = {
  authority: new URL('https://fulcio.sigstore.dev'),
  logs: [{ url: new URL('https://rekor.sigstore.dev'), version: 1 }],
  timestamps: [new URL('https://timestamp.sigstore.dev/api/v1/timestamp')],
}

/**
 * Parses a signing config (sigstore/protobuf-specs, `sigstore_trustroot.proto`, SigningConfig v0.2) and selects
 * services by its rules: those that are valid now, of the highest supported version, at most one per operator (the one
 * whose validity began last), and as many as the config's selector says.
 *
 * @param source names the file in errors.
 * @param options `now` in milliseconds since 1970; `plainHttp` says whether plain HTTP is allowed for a URL.
 * @throws AirgapError `INVALID_CONFIG`
 */
export function servicesOf(
  bytes: Uint8Array,
  source: string,
  options: { now: number; plainHttp: (url: URL) => boolean },
): SigningServices {
  const config = parse(bytes, source)
  const chosen = <V extends number>(
    what: string,
    all: readonly Service[],
    versions: readonly V[],
    how: Selection,
  ): { url: URL; version: V }[] => {
    const found = select(all, versions, how, options.now)
    if (typeof found === 'string') throw invalid(source, `${what}: ${found}`)
    return found.map(({ url, version }) => ({ url: checkedUrl(url, source, options.plainHttp), version }))
  }
  const [authority] = chosen('certificate authority (caUrls)', config.caUrls, VERSIONS.authority, ONE)
  if (!authority) throw invalid(source, 'it names no certificate authority (caUrls)')
  const logs = chosen('log (rekorTlogUrls)', config.rekorTlogUrls, VERSIONS.log, config.rekorTlogConfig)
  if (logs.length === 0) {
    throw invalid(source, 'it names no transparency log to write to (rekorTlogUrls and rekorTlogConfig)')
  }
  const timestamps = chosen(
    'timestamp authority (tsaUrls)',
    config.tsaUrls,
    VERSIONS.timestamps,
    config.tsaConfig,
  )
  if (timestamps.length === 0 && logs.some(({ version }) => version !== 1)) {
    throw invalid(
      source,
      'it names no timestamp authority (tsaUrls and tsaConfig), but its log gives no time (version 2)',
    )
  }
  return { authority: authority.url, logs, timestamps: timestamps.map(({ url }) => url) }
}

const ONE: Selection = { selector: 'ANY', count: 0 }

function parse(bytes: Uint8Array, source: string): SigningConfig {
  try {
    return checkShape(ConfigSchema, parseStrictJson(bytes, source), source)
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    throw new AirgapError('INVALID_CONFIG', `${error.message}; so it is not a signing config`, {
      hint: 'A Sigstore SigningConfig v0.2 is needed: `cosign signing-config create` makes one, and operators of private instances publish theirs.',
    })
  }
}

/** @returns the services, or a clause about why none can be selected. */
function select<V extends number>(
  all: readonly Service[],
  versions: readonly V[],
  how: Selection,
  now: number,
): { url: string; version: V }[] | string {
  const selector = how?.selector ?? undefined
  if (all.length === 0 && (selector === undefined || selector === 'SERVICE_SELECTOR_UNDEFINED')) return []
  if (selector === undefined || selector === 'SERVICE_SELECTOR_UNDEFINED') {
    return 'it does not say how many to use (selector)'
  }
  const spoken = all.filter(({ majorApiVersion }) => isOneOf(versions, majorApiVersion))
  const valid = spoken.filter(({ validFor }) => isWithin(validFor, now))
  if (valid.length === 0) {
    if (all.length === 0) return 'none is named'
    if (spoken.length === 0) return `none has API version ${versions.join(' or ')}`
    return `none of those named is valid now (${new Date(now).toISOString()})`
  }
  const highest = Math.max(...valid.map(({ majorApiVersion }) => majorApiVersion))
  const newest = valid
    .filter(({ majorApiVersion }) => majorApiVersion === highest)
    .toSorted((a, b) => (b.validFor?.start ?? 0) - (a.validFor?.start ?? 0))
  const perOperator = newest.filter(
    (service, i) => newest.findIndex(({ operator }) => operator === service.operator) === i,
  )
  const count = selector === 'ALL' ? perOperator.length : selector === 'ANY' ? 1 : (how?.count ?? 0)
  if (count === 0) return 'EXACT needs a count'
  if (perOperator.length < count) {
    return `${count} are required, but only ${perOperator.length} of different operators are valid now`
  }
  return perOperator.slice(0, count).map(({ url, majorApiVersion }) => ({
    url,
    version: majorApiVersion as V,
  }))
}

function isOneOf(versions: readonly number[], version: number): boolean {
  return versions.includes(version)
}

/** A range without an end is open; its bounds belong to it. */
function isWithin(range: Service['validFor'], now: number): boolean {
  return (range?.start ?? -Infinity) <= now && now <= (range?.end ?? Infinity)
}

/** The token is sent to this URL, so it must use TLS and have no parts that messages would hide. */
function checkedUrl(text: string, source: string, plainHttp: (url: URL) => boolean): URL {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw invalid(source, 'one of its URLs is not valid')
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw invalid(source, `${url.origin}${url.pathname}: a URL with user, query or fragment is not accepted`)
  }
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && plainHttp(url))) {
    throw invalid(source, `${url.origin}${url.pathname}: it is not https`, {
      id: 'plain-http',
      host: url.host,
    })
  }
  return url
}

function invalid(source: string, reason: string, hint?: Hint): AirgapError {
  return new AirgapError('INVALID_CONFIG', `cannot sign with ${source}: ${reason}`, { hint })
}
