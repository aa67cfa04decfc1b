import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AirgapError } from '../errors.ts'
import { readSmallFile } from '../files/small-file.ts'
import { type Digest, digestOf } from '../oci/digest.ts'
import type { NetworkOptions } from '../registry/options.ts'
import { running } from '../content/run.ts'
import { isPlainHttp } from '../registry/services.ts'
import { CACHE, TARGET } from './tuf.ts'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import * as v from 'valibot'
import { instant } from '../bundle/fields.ts'
import { checkShape, parseStrictJson } from '../oci/json.ts'
import { MAX_TRUSTED_ROOT, parseTrustedRoot } from '../trust/identity/trusted-root.ts'

const ROLES = ['root', 'timestamp', 'snapshot', 'targets'] as const

const MOST_DAYS = 36_500

const Metadata = v.object({
  signed: v.object({
    version: v.number(),
    expires: instant,
    // tuf-on-ci, which maintains the public instance, writes for how many days signatures are valid.
    'x-tuf-on-ci-expiry-period': v.optional(
      v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MOST_DAYS)),
    ),
  }),
})

/**
 * Reads what the client fetched, from its folder.
 * @throws AirgapError `INVALID_CONTENT`
 */
async function readFetched(cache: string, mirror: string): Promise<FetchedTrustRoot> {
  const [name = ''] = await readdir(cache)
  const folder = join(cache, name)
  const bytes = await readFile(join(folder, 'targets', TARGET))
  if (bytes.length > MAX_TRUSTED_ROOT) {
    throw new AirgapError('INVALID_CONTENT', `the trusted root of ${mirror} has ${bytes.length} bytes`)
  }
  const what = `the trusted root of ${mirror}`
  parseTrustedRoot(bytes, what)
  const roles = ROLES.map(async (role) => {
    const json = parseStrictJson(await readFile(join(folder, `${role}.json`)), `${role}.json`)
    return [role, tufMetadata(checkShape(Metadata, json, `${role}.json`).signed)] as const
  })
  return {
    bytes,
    digest: digestOf(bytes),
    mirror,
    metadata: Object.fromEntries(await Promise.all(roles)) as FetchedTrustRoot['metadata'],
    instances: instancesOf(TrustedRoot.fromJSON(parseStrictJson(bytes, what)), what),
  }
}

const DAY = 24 * 3600 * 1000

function tufMetadata(signed: v.InferOutput<typeof Metadata>['signed']): TufMetadata {
  const { version, expires, 'x-tuf-on-ci-expiry-period': days } = signed
  if (days === undefined) return { version, expires }
  return { version, expires, signed: new Date(Date.parse(expires) - days * DAY).toISOString() }
}

function instancesOf(root: TrustedRoot, what: string): TrustedInstance[] {
  const time = (date: Date): string => {
    if (Number.isFinite(date.getTime())) return date.toISOString()
    throw new AirgapError('INVALID_CONTENT', `${what} contains an invalid time`)
  }
  const instance = (
    kind: TrustedInstance['kind'],
    name: string,
    range: { start?: Date | undefined; end?: Date | undefined } | undefined,
  ): TrustedInstance => ({
    kind,
    name,
    ...(range?.start ? { start: time(range.start) } : {}),
    ...(range?.end ? { end: time(range.end) } : {}),
  })
  return [
    ...root.certificateAuthorities.map((each) => instance('certificate authority', each.uri, each.validFor)),
    ...root.ctlogs.map((each) => instance('certificate log', each.baseUrl, each.publicKey?.validFor)),
    ...root.tlogs.map((each) => instance('transparency log', each.baseUrl, each.publicKey?.validFor)),
    ...root.timestampAuthorities.map((each) => instance('timestamp authority', each.uri, each.validFor)),
  ]
}

/** The TUF repository of the public good instance. */
export const PUBLIC_MIRROR = 'https://tuf-repo-cdn.sigstore.dev'
const MAX_METADATA = 8 * 1024 * 1024

export interface TrustRootOptions extends NetworkOptions {
  /** URL of the TUF repository; default: that of the public good instance. */
  mirror?: string | undefined
  /** File with the initial root of a private instance's repository; default: that of the public good instance. */
  root?: string | undefined
}

/** The metadata of a TUF role. Times are in RFC 3339. */
export interface TufMetadata {
  version: number
  expires: string
  /** When it was signed, if the repository says how long its signatures are valid. */
  signed?: string
}

/** An authority or log that a trusted root names. Times are in RFC 3339. */
export interface TrustedInstance {
  kind: 'certificate authority' | 'certificate log' | 'transparency log' | 'timestamp authority'
  /** Its URL, as in the root. */
  name: string
  start?: string
  /** Until when it was in use; absent if it still is. */
  end?: string
}

export interface FetchedTrustRoot {
  /** trusted_root.json, unchanged. */
  bytes: Buffer
  digest: Digest
  mirror: string
  /** The metadata by which it was verified. */
  metadata: Record<'root' | 'timestamp' | 'snapshot' | 'targets', TufMetadata>
  /** The authorities and logs in it, in order. */
  instances: TrustedInstance[]
}

/**
 * Fetches the trusted root of a Sigstore instance from its TUF repository, and verifies it from a known initial root
 * (The Update Framework 1.0 § 5). Leaves no files behind.
 *
 * @throws AirgapError `VERIFICATION_FAILED` for a repository that does not verify or has expired; `USAGE`, `FILE`,
 *   `INVALID_CONTENT`, `NETWORK`, `TLS`, `REGISTRY`, `NOT_FOUND`; the signal's reason.
 */
export async function fetchTrustRoot(options: TrustRootOptions = {}): Promise<FetchedTrustRoot> {
  return running(options, async (run) => {
    const mirror = mirrorOf(options)
    const root =
      options.root === undefined ? await publicRoot() : await readSmallFile(options.root, MAX_METADATA)
    const folder = await mkdtemp(join(tmpdir(), 'airgap-trust-root-'))
    try {
      const { credentials: _, ...registries } = options.registries ?? {}
      const { retries, timeout } = options
      const network = { registries, retries, timeout }
      const { fetchTarget } = await import('./tuf.ts')
      await fetchTarget({ mirror, target: TARGET, root, folder, network }, run)
      return await readFetched(join(folder, CACHE), mirror)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
}

function mirrorOf(options: TrustRootOptions): string {
  const text = options.mirror ?? PUBLIC_MIRROR
  const fail = (reason: string): never => {
    throw new AirgapError('USAGE', `the mirror ${text} cannot be used: ${reason}`, {
      hint: 'Give the URL of a TUF repository: https://HOST/PATH, which contains timestamp.json.',
    })
  }
  let url: URL
  try {
    url = new URL(text)
  } catch {
    return fail('it is not a URL')
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    return fail('user, query and fragment are not accepted')
  }
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isPlainHttp(options)(url))) {
    return fail('it is not https')
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`
}

/** The initial root of the public good instance, from the library. */
async function publicRoot(): Promise<Buffer> {
  const { default: seeds } = await import('@sigstore/tuf/seeds.json', { with: { type: 'json' } })
  return Buffer.from(seeds[PUBLIC_MIRROR]['root.json'], 'base64')
}
