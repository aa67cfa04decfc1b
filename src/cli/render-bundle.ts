import type { BundleIdentity } from '../bundle/description.ts'
import { escapeLine, formatBytes, formatCount, plural } from './format.ts'

/** What a bundle is, as fields for people: the same lines wherever one is shown. */
export function identityFields(bundle: BundleIdentity): [string, string][] {
  return [
    ['bundle digest', bundle.digest],
    ['name', escapeLine(bundle.name)],
    ...(bundle.version === undefined ? [] : [['version', escapeLine(bundle.version)] as [string, string]]),
    ['sequence', String(bundle.sequence)],
    ['created', bundle.created],
    ...(bundle.expires === undefined ? [] : [['expires', bundle.expires] as [string, string]]),
  ]
}

/** @param bundle bytes of the file, and how many entries it has. */
export function sizeField(bundle: { size: number; entries: number }): [string, string] {
  return [
    'size',
    `${formatBytes(bundle.size)} (${formatCount(bundle.size)} bytes, ${plural(bundle.entries, 'entry', 'entries')})`,
  ]
}
