import { dirname, isAbsolute, join } from 'node:path'
import { isRegistryHost, isRepository } from '../../oci/reference.ts'
import type { HostAccess, Place, Rule, Scope } from '../../registry/mirrors/rule.ts'
import { readTomlFile, type TomlSection } from './toml-file.ts'

/** The folder for registries that have no folder of their own. */
export const DEFAULT_FOLDER = '_default'
export const HOSTS_TOML = 'hosts.toml'

const HOST_KEYS = ['capabilities', 'ca', 'client', 'skip_verify', 'override_path']
const UNSUPPORTED = new Map([
  ['header', 'is not supported, and has no effect: no additional headers are sent'],
  ['dial_timeout', 'is not supported, and has no effect'],
  ['proxy', 'is not supported, and has no effect'],
])
const CAPABILITIES = ['pull', 'resolve', 'push']

/**
 * Reads a `hosts.toml` of containerd (its docs/hosts.md).
 * @param registry the registry that it is for; undefined for `_default`.
 * @throws AirgapError `FILE`, `INVALID_CONFIG`
 */
export async function readHostsToml(
  path: string,
  registry: string | undefined,
  warn: (message: string) => void,
): Promise<Rule> {
  return hostsRule(await readTomlFile(path), path, registry, warn)
}

/** The rule of a parsed file. */
export function hostsRule(
  file: TomlSection,
  path: string,
  registry: string | undefined,
  warn: (message: string) => void,
): Rule {
  file.others(['server', 'host', ...HOST_KEYS], UNSUPPORTED, warn)
  const context: FileContext = { folder: dirname(path), warn }
  const mirrors = file.named('host').flatMap(([url, section]) => {
    section.others(HOST_KEYS, UNSUPPORTED, warn)
    const place = readHost(section, url, undefined, context)
    return place.pulls || place.resolves ? [place] : []
  })
  const scope: Scope = registry === undefined ? { kind: 'all' } : { kind: 'path', host: registry, path: '' }
  const rule = { scope, mirrors, origin: path }
  const server = file.string('server')
  if (server === undefined || server === '')
    return { ...rule, source: 'own', ownAccess: accessOf(file, context, false) }
  const place = readHost(file, server, 'server', context)
  return { ...rule, source: place.pulls || place.resolves ? place : 'nowhere' }
}

interface FileContext {
  folder: string
  warn: (message: string) => void
}

/** @param key the key of the URL; undefined if the URL is the name of the section. */
function readHost(section: TomlSection, text: string, key: string | undefined, context: FileContext): Place {
  const fail = (reason: string): never =>
    section.fail(key, `${JSON.stringify(text)} is not the address of a registry: ${reason}`)
  // Like containerd, for an address without a scheme.
  const written = text.startsWith('http') ? text : `https://${text}`
  if (!URL.canParse(written)) fail('it is not of the form https://HOST[:PORT][/PATH]')
  const url = new URL(written)
  if (url.protocol !== 'https:' && url.protocol !== 'http:') fail('only https:// and http:// are known')
  if (url.username !== '' || url.password !== '') {
    section.fail(
      key,
      `the address of ${url.host} contains credentials, which do not belong here`,
      `Leave them out, and log in to ${url.host}.`,
    )
  }
  if (url.search !== '' || url.hash !== '') fail('it contains a query or a fragment')
  if (!isRegistryHost(url.host)) fail(`${JSON.stringify(url.host)} is not a registry host`)

  const capabilities = capabilitiesOf(section)
  return {
    registry: url.host,
    ...pathsOf(url.pathname, section.boolean('override_path') ?? false),
    text,
    pulls: capabilities.has('pull'),
    resolves: capabilities.has('resolve'),
    wantsNamespace: true,
    access: {
      ...accessOf(section, context, url.protocol === 'http:'),
      scheme: url.protocol === 'http:' ? 'http' : 'https',
    },
  }
}

/**
 * Where the API is: the path followed by `/v2`, unless it already ends so; with `override_path`, the path as it is.
 * What follows `/v2` then is the beginning of the repository.
 */
function pathsOf(pathname: string, overridePath: boolean): Pick<Place, 'path' | 'apiRoot'> {
  const clean = pathname.replaceAll(/\/+/g, '/').replace(/\/$/, '')
  const root = overridePath || clean.endsWith('/v2') ? clean : `${clean}/v2`
  if (root === '/v2') return { path: '' }
  const path = root.startsWith('/v2/') ? root.slice('/v2/'.length) : ''
  return isRepository(path) ? { path } : { path: '', apiRoot: root }
}

function capabilitiesOf(section: TomlSection): ReadonlySet<string> {
  const given = section.strings('capabilities') ?? []
  const known = given.map((name) => name.toLowerCase())
  const wrong = known.findIndex((name) => !CAPABILITIES.includes(name))
  if (wrong >= 0) {
    section.fail(
      'capabilities',
      `there is no capability ${JSON.stringify(given[wrong])}; use ${CAPABILITIES.join(', ')}`,
    )
  }
  return new Set(known.length === 0 ? CAPABILITIES : known)
}

function accessOf(section: TomlSection, { folder, warn }: FileContext, isPlain: boolean): HostAccess {
  const absolute = (path: string): string => (isAbsolute(path) ? path : join(folder, path))
  const ca = section.strings('ca', 'alone')?.map(absolute)
  const [client, ...more] = clientsOf(section)
  const skipVerify = section.boolean('skip_verify')
  if (more.length > 0) {
    warn(`${section.place('client')}: only the first of several client certificates is used`)
  }
  if (isPlain) {
    for (const key of ['ca', 'client', 'skip_verify']) {
      if (section.has(key))
        warn(`${section.place(key)}: "${key}" has no effect, because http:// does not use TLS`)
    }
    return {}
  }
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(client === undefined ? {} : { client: { cert: absolute(client.cert), key: absolute(client.key) } }),
    ...(skipVerify ? { skipVerify } : {}),
  }
}

/** A path, a list of paths, or a list of pairs of paths. A single file contains both certificate and key. */
function clientsOf(section: TomlSection): { cert: string; key: string }[] {
  const value = section.value('client')
  if (value === undefined) return []
  const list: unknown[] = Array.isArray(value) ? value : [value]
  return list.map((item) => {
    const pair: unknown[] = Array.isArray(item) ? item : [item, '']
    const [cert, key] = pair
    if (pair.length !== 2 || typeof cert !== 'string' || typeof key !== 'string') {
      return section.fail('client', '"client" must be a path, a list of paths, or a list of pairs of paths')
    }
    return { cert, key: key === '' ? cert : key }
  })
}
