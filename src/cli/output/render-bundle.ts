import type { BundleIdentity } from '../../bundle/description.ts'
import type { Amount } from '../../content/amount.ts'
import { escapeLine, formatBytes, formatCount, plural } from './format.ts'

/** The name under which a bundle is quoted and approved; it stands with the verdict, at the end. */
export function digestField({ digest }: Pick<BundleIdentity, 'digest'>): [string, string] {
  return ['bundle digest', digest]
}

/** What else a bundle is, as fields for people: the same lines wherever one is shown. */
export function identityFields(bundle: BundleIdentity): [string, string][] {
  return [
    ['name', escapeLine(bundle.name)],
    ...(bundle.version === undefined ? [] : [['version', escapeLine(bundle.version)] as [string, string]]),
    ['sequence', String(bundle.sequence)],
    ['created', bundle.created],
    ...(bundle.expires === undefined ? [] : [['expires', bundle.expires] as [string, string]]),
  ]
}

/** What a bundle holds of its images, each thing counted once. */
export function contentField({ blobs, manifests }: { blobs: Amount; manifests: Amount }): [string, string] {
  const bytes = formatBytes(blobs.bytes + manifests.bytes)
  return ['content', `${plural(blobs.count, 'blob')} and ${plural(manifests.count, 'manifest')}, ${bytes}`]
}

/** @param bundle bytes of the file, and how many entries it has. */
export function sizeField(bundle: { size: number; entries: number }): [string, string] {
  return [
    'size',
    `${formatBytes(bundle.size)} (${formatCount(bundle.size)} bytes, ${plural(bundle.entries, 'entry', 'entries')})`,
  ]
}
