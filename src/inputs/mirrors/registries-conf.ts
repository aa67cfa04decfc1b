import { isRegistryHost, isRepository, isTag } from '../../oci/reference.ts'
import { isDigest } from '../../oci/digest.ts'
import { type HostAccess, type Place, type Rule, type Scope, textOf } from '../../registry/mirrors/rule.ts'
import { readTomlFile, type TomlSection } from './toml-file.ts'

const REGISTRY_KEYS = ['prefix', 'location', 'insecure', 'blocked', 'mirror-by-digest-only', 'mirror']
const MIRROR_KEYS = ['location', 'insecure', 'pull-from-mirror']
/** Keys about names without a registry, which are ignored without a warning. */
const BESIDES = ['unqualified-search-registries', 'short-name-mode', 'aliases']
const UNSUPPORTED = new Map([
  [
    'credential-helpers',
    'is ignored: credential helpers are taken from credentials files ("credHelpers", "credsStore")',
  ],
  ['additional-layer-store-auth-helper', 'has no effect'],
])
const USES = ['all', 'digest-only', 'tag-only']

/**
 * Reads a registries.conf of version 2 (containers-registries.conf(5)).
 * @returns one rule per prefix.
 * @throws AirgapError `FILE`; `INVALID_CONFIG`, also for version 1, and for a prefix that is given twice.
 */
export async function readRegistriesConf(path: string, warn: (message: string) => void): Promise<Rule[]> {
  return registriesRules(await readTomlFile(path), path, warn)
}

/** The rules of a parsed file. */
export function registriesRules(file: TomlSection, path: string, warn: (message: string) => void): Rule[] {
  if (file.has('registries')) {
    file.fail(
      'registries',
      'this is version 1 of the format, which has no mirrors',
      'Convert it to version 2: [[registry]] tables with location and [[registry.mirror]]; see containers-registries.conf(5).',
    )
  }
  file.others(['registry', ...BESIDES], UNSUPPORTED, warn)
  const rules = new Map<string, Rule>()
  for (const section of file.list('registry')) {
    section.others(
      REGISTRY_KEYS,
      new Map([['pull-from-mirror', 'belongs in [[registry.mirror]], and has no effect here']]),
      warn,
    )
    const rule = readRegistry(section, path, warn)
    const name = textOf(rule.scope)
    if (rules.has(name)) {
      section.fail(
        undefined,
        `there is already a [[registry]] for ${name} above`,
        'Keep one of them: Podman uses the first or the last, depending on whether there are other files.',
      )
    }
    rules.set(name, rule)
  }
  return [...rules.values()]
}

function readRegistry(section: TomlSection, path: string, warn: (message: string) => void): Rule {
  const location = locationOf(section)
  const prefix = trimmed(section.string('prefix') ?? '')
  const isBlocked = section.boolean('blocked') ?? false
  const access = accessOf(section)
  const byDigestOnly = section.boolean('mirror-by-digest-only') ?? false
  if (prefix === '' && location === undefined) {
    section.fail(undefined, 'a [[registry]] needs a location, or a prefix of the form *.example.com')
  }
  const scope: Scope =
    prefix === '' && location
      ? { kind: 'path', host: location.registry, path: location.path }
      : scopeOf(section, prefix)
  if (location === undefined && scope.kind !== 'subdomains') {
    section.fail('prefix', 'without a location the prefix must be of the form *.example.com')
  }
  if (scope.kind === 'reference' && !isBlocked) {
    section.fail('prefix', 'a prefix with a tag or a digest works only with "blocked"; leave the tag out')
  }
  const mirrors = section.list('mirror').map((mirror) => readMirror(mirror, byDigestOnly, warn))
  const isElsewhere = location !== undefined && textOf(scope) !== location.text
  return {
    scope,
    mirrors,
    source: location && isElsewhere ? { ...location, pulls: true, resolves: true, access } : 'own',
    ownAccess: isElsewhere ? undefined : access,
    isBlocked,
    origin: path,
  }
}

function readMirror(section: TomlSection, byDigestOnly: boolean, warn: (message: string) => void): Place {
  section.others(MIRROR_KEYS, new Map(), warn)
  const location = locationOf(section)
  if (!location) return section.fail(undefined, 'a [[registry.mirror]] needs a location')
  const use = section.string('pull-from-mirror') ?? ''
  if (use !== '' && !USES.includes(use)) {
    section.fail('pull-from-mirror', `"pull-from-mirror" must be one of ${USES.join(', ')}`)
  }
  if (use !== '' && byDigestOnly) {
    section.fail('pull-from-mirror', 'it cannot be used with "mirror-by-digest-only"; leave one of them out')
  }
  return {
    ...location,
    pulls: true,
    resolves: !byDigestOnly && use !== 'digest-only',
    tagOnly: use === 'tag-only',
    access: accessOf(section),
  }
}

/** In Podman, `insecure` allows both plain HTTP and any certificate. */
function accessOf(section: TomlSection): HostAccess | undefined {
  return section.boolean('insecure') ? { scheme: 'either', skipVerify: true } : undefined
}

function locationOf(section: TomlSection): Pick<Place, 'registry' | 'path' | 'text'> | undefined {
  const given = section.string('location')
  if (given === undefined || given === '') return undefined
  const text = trimmed(given)
  const fail = (reason: string): never =>
    section.fail('location', `${JSON.stringify(given)} is not a location: ${reason}`)
  if (text.includes('://')) fail('leave the scheme out; "insecure = true" allows plain HTTP')
  const { host, path } = split(text)
  if (!isRegistryHost(host)) fail(`${JSON.stringify(host)} is not a registry host`)
  if (path !== '' && !isRepository(path)) fail(`${JSON.stringify(path)} is not a repository path`)
  return { registry: host, path, text }
}

function scopeOf(section: TomlSection, prefix: string): Scope {
  const fail = (reason: string): never =>
    section.fail('prefix', `${JSON.stringify(prefix)} is not a prefix: ${reason}`)
  if (prefix.includes('://')) fail('leave the scheme out')
  if (prefix.startsWith('*.')) {
    const domain = prefix.slice(1)
    if (!isRegistryHost(`a${domain}`) || domain.includes(':'))
      fail('only *.HOST is supported, without path and port')
    return { kind: 'subdomains', domain: domain.toLowerCase() }
  }
  const at = prefix.indexOf('@')
  const colon = at < 0 ? prefix.lastIndexOf(':') : -1
  const end = at >= 0 ? at : colon > prefix.lastIndexOf('/') && prefix.includes('/') ? colon : prefix.length
  const { host, path } = split(prefix.slice(0, end))
  const suffix = prefix.slice(end)
  if (!isRegistryHost(host)) fail(`${JSON.stringify(host)} is not a registry host`)
  if (path !== '' && !isRepository(path)) fail(`${JSON.stringify(path)} is not a repository path`)
  if (suffix === '') return { kind: 'path', host, path }
  if (path === '' || !(suffix.startsWith('@') ? isDigest(suffix.slice(1)) : isTag(suffix.slice(1)))) {
    fail(`${JSON.stringify(suffix)} is neither a tag nor a digest`)
  }
  return { kind: 'reference', text: prefix, host, path, suffix }
}

function trimmed(text: string): string {
  return text.replace(/\/+$/, '')
}

function split(text: string): { host: string; path: string } {
  const slash = text.indexOf('/')
  return slash < 0 ? { host: text, path: '' } : { host: text.slice(0, slash), path: text.slice(slash + 1) }
}
