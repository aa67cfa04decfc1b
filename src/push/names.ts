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

/** The replacements for separators inside one path part. There are always letters or digits between two separators. */
const IN_PATH: Record<string, string> = { '/': '_', _: '__', __: '--' }
const HASH_LENGTH = 32

/**
 * An image's whole name as one path part, `docker.io_library_nginx` for `docker.io/library/nginx`, for registries
 * that allow few parts. Different names give different parts.
 *
 * In the grammar of repository names (github.com/distribution/reference), runs of letters and digits are separated by `.`,
 * `_`, `__` or any number of dashes. In a full name, `/` and `:` are separators, too. Each separator is replaced by a
 * different one, so that the result is unambiguous:
 *
 * - in the host, which ends at the first single `_`: `:` becomes `__`; `.` and dashes stay
 * - after it: `/` becomes `_`, `_` becomes `__`, `__` becomes `--`, and two or more dashes get one more; `.` and `-` stay
 *
 * A name that would be longer than `room` characters, or has an IPv6 address, becomes as much of its end as fits, without
 * any `_`, followed by 128 bits of its SHA-256.
 */
export function flatName(
  { registry, repository }: Pick<Reference, 'registry' | 'repository'>,
  room: number,
): string {
  // Host names are case-insensitive, repository names have to be lower case.
  const host = registry.toLowerCase()
  const encoded = `${host.replace(':', '__')}_${flatPath(repository)}`
  if (encoded.length <= room && !host.includes('[')) return encoded
  const hash = createHash('sha256').update(`${host}/${repository}`).digest('hex').slice(0, HASH_LENGTH)
  const words = `${host}-${repository}`.replaceAll(/[^a-z0-9.]+/g, '-')
  const end = words.slice(-Math.max(1, room - HASH_LENGTH - 1)).replace(/^[^a-z0-9]+/, '')
  return end === '' ? hash : `${end}-${hash}`
}

/** A path below a mapped name as one part, following the same rules. */
function flatPath(path: string): string {
  return path.replaceAll(/\/|__?|--+/g, (joint) => IN_PATH[joint] ?? `${joint}-`)
}

/** Where a bundle goes: `REGISTRY[/PREFIX]`. */
export interface Target {
  registry: string
  /** Without slashes at either end; may be empty. */
  prefix: string
}

/** A map `FROM=TO`: names that begin with FROM begin with TO in the target, below the prefix. */
export interface NameMap {
  from: string
  to: string
}

/**
 * The naming rule: `full` keeps the source's registry as the first part of the path, `strip-host` leaves it out, `flat`
 * makes the whole name one part.
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
    throw new AirgapError(
      'USAGE',
      `the map ${text} has to be FROM=TO, where TO is a path of lower-case names`,
      {
        hint: 'For example registry.k8s.io/coredns=k8s: names that begin with FROM begin with TO in the target.',
      },
    )
  }
  return { from, to }
}

/**
 * Names every image in the target.
 * @throws AirgapError `NAME_CONFLICT` or `INVALID_TARGET_NAME`, which list every case.
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
    throw new AirgapError('INVALID_TARGET_NAME', 'the names of some images are not valid in the target', {
      problems: invalid,
      hint: ['Use a shorter prefix.', { id: 'shorter-names' }],
    })
  }
  const conflicts = conflictsAmong(names)
  if (conflicts.length > 0) {
    throw new AirgapError(
      'NAME_CONFLICT',
      'images with different digests would get the same name in the target',
      {
        problems: conflicts,
        hint: { id: 'different-names' },
      },
    )
  }
  return names
}

/** The repository and tag for an image. An image named by digest only also gets a tag, against garbage collection. */
function nameImage({ source, digest }: ImageEntry, options: NamingOptions): TargetName {
  const reference = parseReference(source)
  return {
    repository: [options.target.prefix, mapName(reference, options)].filter(Boolean).join('/'),
    tag: tagFor(reference, digest),
  }
}

/** The reference's own tag; without one, `airgap-` and the first 12 digits of the digest. */
export function tagFor({ tag }: Pick<Reference, 'tag'>, digest: Digest): string {
  return tag ?? `airgap-${shortHex(digest)}`
}

/**
 * A registry as the first part of a path. The `:` before a port becomes `_`. An IPv6 address is written in full, its eight
 * groups joined by dashes (`[fd00::1]:5000` becomes `fd00-0-0-0-0-0-0-1_5000`), so that an address has only one name. Host
 * names are case-insensitive, repository names have to be lower case.
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
 * The path of an image below the target's prefix. If maps apply, the one with the longest FROM, at a path boundary,
 * replaces that part; `flat` makes the rest one part. Otherwise the naming rule makes the path.
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
    return `it has ${repository.length} characters, but at most ${MAX_REPOSITORY} are allowed`
  return 'it is not a valid repository name'
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
