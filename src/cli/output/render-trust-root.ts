import { formatFields, plural } from './format.ts'
import type { TrustRootResult } from './shapes/trust-root.ts'

/** @param now milliseconds since 1970. */
export function renderTrustRoot(
  { file, digest, mirror, metadata, instances }: TrustRootResult,
  now: number,
): string {
  const { timestamp, targets, root } = metadata
  const inUse = instances.filter(({ end }) => end === undefined || Date.parse(end) > now)
  const before = instances.length - inUse.length
  return [
    `Wrote ${file === '-' ? 'the trusted root to standard output' : file}`,
    formatFields([
      ['SHA-256', digest.replace('sha256:', '')],
      ['from', mirror],
      ['TUF timestamp', `version ${timestamp.version}, ${life(timestamp)}`],
      ['TUF targets', `version ${targets.version}, ${life(targets)}`],
      ['TUF root', `version ${root.version}, ${life(root)}`],
    ]),
    '',
    `It names ${plural(instances.length, 'instance')}${before === 0 ? '' : `, ${before} of them for signatures of former times`}. In use:`,
    formatFields(
      inUse.map(({ kind, name, start }) => [
        kind,
        `${name}${start === undefined ? '' : `, since ${start.slice(0, 10)}`}`,
      ]),
    ),
  ].join('\n')
}

function life({ signed, expires }: TrustRootResult['metadata']['root']): string {
  return `${signed === undefined ? '' : `signed ${signed.slice(0, 10)}, `}good until ${expires.slice(0, 10)}`
}
