import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import * as v from 'valibot'
import { AirgapError } from '../errors.ts'
import { instant } from '../bundle/fields.ts'
import { digestOf } from '../oci/digest.ts'
import { checkShape, parseStrictJson } from '../oci/json.ts'
import { MAX_TRUSTED_ROOT, parseTrustedRoot } from '../trust/identity/trusted-root.ts'
import type { FetchedTrustRoot, TrustedInstance, TufMetadata } from './trust-root.ts'
import { TARGET } from './tuf-task.ts'

const ROLES = ['root', 'timestamp', 'snapshot', 'targets'] as const

const MOST_DAYS = 36_500

const Metadata = v.object({
  signed: v.object({
    version: v.number(),
    expires: instant,
    // tuf-on-ci, with which the public instance is kept, writes for how many days it signs.
    'x-tuf-on-ci-expiry-period': v.optional(
      v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MOST_DAYS)),
    ),
  }),
})

/**
 * What was fetched, out of the client's folder.
 * @throws AirgapError `INVALID_CONTENT`
 */
export async function readFetched(cache: string, mirror: string): Promise<FetchedTrustRoot> {
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
    throw new AirgapError('INVALID_CONTENT', `${what} holds a time that is none`)
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
