import { isIPv6 } from 'node:net'
import type { ImageEntry } from '../bundle/description.ts'
import { AirgapError, type Problem } from '../errors.ts'
import { type Digest, shortHex } from '../oci/digest.ts'
import {
  isRegistryHost,
  isRepository,
  MAX_REPOSITORY,
  nameOf,
  parseReference,
  type Reference,
} from '../oci/reference.ts'
import { createHash } from 'node:crypto'

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
function flatPath(path: string): string {
  return path.replaceAll(/\/|__?|--+/g, (joint) => IN_PATH[joint] ?? `${joint}-`)
}

/** Where a bundle goes: `REGISTRY[/PREFIX]`. */
export interface Target {
  registry: string
  /** Without slashes at either end; empty for none. */
  prefix: string
}

/** `--map FROM=TO`: names that begin with FROM begin with TO in the target, below the prefix. */
export interface NameMap {
  from: string
  to: string
}

/**
 * How names are made: `full` keeps the source's registry as a part of the path, `strip-host` leaves it out, `flat`
 * writes the whole name as one part.
 */
export type PathStyle = 'full' | 'strip-host' | 'flat'

export interface NamingOptions {
  target: Target
  path: PathStyle
  maps: readonly NameMap[]
}

/** An image's name in the target. */
export interface TargetName {
  repository: string
  tag: string
}

/** @throws AirgapError `USAGE` */
export function parseTarget(text: string): Target {
  const fail = (reason: string): never => {
    throw new AirgapError('USAGE', `${JSON.stringify(text)} is not a target: ${reason}`, {
      hint: 'Write REGISTRY or REGISTRY/PREFIX: harbor.internal/mirror, registry.internal:5000.',
    })
  }
  if (/^[a-z]+:\/\//i.test(text)) fail('leave the scheme out')
  const slash = text.indexOf('/')
  const registry = slash < 0 ? text : text.slice(0, slash)
  const prefix = slash < 0 ? '' : text.slice(slash + 1).replace(/\/$/, '')
  if (!isRegistryHost(registry)) fail(`${JSON.stringify(registry)} is not a host name with an optional port`)
  if (prefix !== '' && !isRepository(prefix))
    fail(`${JSON.stringify(prefix)} is not a path of lower-case names`)
  return { registry, prefix }
}

/** @throws AirgapError `USAGE` */
export function parseNameMap(text: string): NameMap {
  const match = /^([^=]+)=([^=]*)$/.exec(text)
  const from = match?.[1]?.replace(/\/$/, '')
  const to = match?.[2]?.replace(/\/$/, '')
  if (from === undefined || to === undefined || (to !== '' && !isRepository(to))) {
    throw new AirgapError('USAGE', `the map ${text} has to be FROM=TO, and TO a path of lower-case names`, {
      hint: 'For example registry.k8s.io/coredns=k8s: what begins with FROM begins with TO in the target.',
    })
  }
  return { from, to }
}

/**
 * Names every image in the target.
 * @throws AirgapError `NAME_CONFLICT` or `INVALID_TARGET_NAME`, listing every case.
 */
export function nameImages(
  images: readonly ImageEntry[],
  options: NamingOptions,
): Map<ImageEntry, TargetName> {
  const names = new Map<ImageEntry, TargetName>()
  const invalid: Problem[] = []
  for (const image of images) {
    const name = nameImage(image, options)
    names.set(image, name)
    const reason = faultOf(name.repository)
    if (reason !== undefined)
      invalid.push({ entry: image.source, message: `would be ${name.repository}: ${reason}` })
  }
  if (invalid.length > 0) {
    throw new AirgapError('INVALID_TARGET_NAME', 'not every image can have its name in the target', {
      problems: invalid,
      hint: ['Use a shorter prefix.', { id: 'shorter-names' }],
    })
  }
  const conflicts = conflictsAmong(names)
  if (conflicts.length > 0) {
    throw new AirgapError(
      'NAME_CONFLICT',
      'two images with different digests would get one name in the target',
      {
        problems: conflicts,
        hint: { id: 'different-names' },
      },
    )
  }
  return names
}

/** The repository for a source's name; the tag, or for a digest alone one that keeps it from garbage collection. */
function nameImage({ source, digest }: ImageEntry, options: NamingOptions): TargetName {
  const reference = parseReference(source)
  return {
    repository: [options.target.prefix, mapName(reference, options)].filter(Boolean).join('/'),
    tag: tagFor(reference, digest),
  }
}

/** The reference's own tag, or for a digest alone `airgap-` and its first 12 digits. */
export function tagFor({ tag }: Pick<Reference, 'tag'>, digest: Digest): string {
  return tag ?? `airgap-${shortHex(digest)}`
}

/**
 * A registry as the first part of a path: a port's `:` is written `_`; an IPv6 address in full, its eight groups joined by
 * dashes (`[fd00::1]:5000` is `fd00-0-0-0-0-0-0-1_5000`), so that one address has one name. Host names do not depend on
 * case; repository names have to be lower case.
 */
export function hostPart(registry: string): string {
  const [, address, port = ''] = /^\[(.*)\](?::(.*))?$/.exec(registry) ?? []
  if (address === undefined || !isIPv6(address)) return registry.toLowerCase().replace(':', '_')
  const [before = '', after] = address.toLowerCase().split('::')
  const [left, right] = [before, after ?? ''].map((groups) => groups.split(':').filter(Boolean))
  const zeros = Array.from({ length: 8 - (left?.length ?? 0) - (right?.length ?? 0) }, () => '0')
  const groups = [...(left ?? []), ...zeros, ...(right ?? [])].map((group) => group.replace(/^0+(?=.)/, ''))
  return `${groups.join('-')}${port === '' ? '' : `_${port}`}`
}

/**
 * Longest mapped prefix, at a path boundary, and what stands behind it, which `flat` makes one part; else the whole
 * name, with a port's `:` written `_`.
 */
export function mapName(
  reference: Pick<Reference, 'registry' | 'repository'>,
  { maps, path, target: { prefix } }: NamingOptions,
): string {
  const name = nameOf(reference)
  const { registry, repository } = reference
  const [best] = maps
    .filter(({ from }) => name === from || name.startsWith(`${from}/`))
    .toSorted((a, b) => b.from.length - a.from.length)
  if (best) {
    const rest = name.slice(best.from.length + 1)
    return [best.to, path === 'flat' ? flatPath(rest) : rest].filter(Boolean).join('/')
  }
  switch (path) {
    case 'full':
      return `${hostPart(registry)}/${repository}`
    case 'strip-host':
      return repository
    case 'flat':
      return flatName(reference, MAX_REPOSITORY - (prefix === '' ? 0 : prefix.length + 1))
  }
}

function faultOf(repository: string): string | undefined {
  if (isRepository(repository)) return undefined
  if (repository.length > MAX_REPOSITORY)
    return `${repository.length} characters, and ${MAX_REPOSITORY} are the most`
  return 'not a repository name by the grammar'
}

function conflictsAmong(names: ReadonlyMap<ImageEntry, TargetName>): Problem[] {
  const byName = new Map<string, { digest: Digest; source: string }[]>()
  for (const [{ digest, source }, { repository, tag }] of names) {
    const key = `${repository}:${tag}`
    byName.set(key, [...(byName.get(key) ?? []), { digest, source }])
  }
  return [...byName].flatMap(([name, owners]) => {
    if (new Set(owners.map(({ digest }) => digest)).size < 2) return []
    return [{ entry: name, message: owners.map(({ source, digest }) => `${source} (${digest})`).join(', ') }]
  })
}
