import { createHash } from 'node:crypto'
import type { Reference } from '../oci/reference.ts'

/** What stands in for `/` and the others inside one path part; `a`…`z` and digits always stand between two of them. */
const IN_PATH: Record<string, string> = { '/': '_', _: '__', __: '--' }
const HASH_LENGTH = 32

/**
 * An image's whole name as one path part, `docker.io_library_nginx` for `docker.io/library/nginx`, for registries
 * that allow few parts. Different names give different parts.
 *
 * The grammar of repository names (github.com/distribution/reference) joins runs of letters and digits by `.`, `_`,
 * `__` or any number of dashes. Host and path are such runs too, joined by these, `/` and `:`; each joint is written
 * as another one, so that the name could be read back:
 *
 * - in the host, which ends at the first single `_`: `:` is `__`; `.` and dashes stay
 * - behind it: `/` is `_`, `_` is `__`, `__` is `--`, two dashes or more are one more; `.` and `-` stay
 *
 * What would be longer than `room` characters, and IPv6 addresses, keep what fits of their end, without any `_`, and
 * have 128 bits of the name's SHA-256 behind it.
 */
export function flatName(
  { registry, repository }: Pick<Reference, 'registry' | 'repository'>,
  room: number,
): string {
  // Host names do not depend on case; repository names have to be lower case.
  const host = registry.toLowerCase()
  const encoded = `${host.replace(':', '__')}_${flatPath(repository)}`
  if (encoded.length <= room && !host.includes('[')) return encoded
  const hash = createHash('sha256').update(`${host}/${repository}`).digest('hex').slice(0, HASH_LENGTH)
  const words = `${host}-${repository}`.replaceAll(/[^a-z0-9.]+/g, '-')
  const end = words.slice(-Math.max(1, room - HASH_LENGTH - 1)).replace(/^[^a-z0-9]+/, '')
  return end === '' ? hash : `${end}-${hash}`
}

/** A path below a mapped name as one part, by the same rules. */
export function flatPath(path: string): string {
  return path.replaceAll(/\/|__?|--+/g, (joint) => IN_PATH[joint] ?? `${joint}-`)
}
